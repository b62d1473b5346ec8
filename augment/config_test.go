package augment_test

import (
	"math"
	"strings"
	"testing"

	"pupil/augment"
)

func TestNewListsEveryFault(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		change func(*augment.Config)
		want   []string // parts of the error; none: valid
	}{
		{"valid", func(*augment.Config) {}, nil},
		{"zero crop", func(c *augment.Config) { c.Crop = augment.Crop{} }, nil},
		{"no normalisation", func(c *augment.Config) { c.Mean, c.Std = nil, nil }, nil},
		{"occlusion off", func(c *augment.Config) { c.Occlude = augment.Occlude{} }, nil},
		{"size 0", func(c *augment.Config) { c.Size = 0 }, []string{"size is 0"}},
		{"resized less than cut", func(c *augment.Config) { *c = augment.Config{Size: 32, Channels: 1, Resize: 31} }, []string{"resize is 31"}},
		{"resized and cropped", func(c *augment.Config) { c.Resize = 300 }, []string{"resize is 300, and there is a random"}},
		{"size huge", func(c *augment.Config) { c.Size = 5000 }, []string{"size is 5000"}},
		{
			"two channels", func(c *augment.Config) { c.Channels = 2 },
			[]string{"channels is 2", "mean has 3", "std has 3"},
		},
		{
			"scale above 1", func(c *augment.Config) { c.Crop.Scale = [2]float64{0.5, 1.5} },
			[]string{"crop.scale is [0.5 1.5]"},
		},
		{"scale reversed", func(c *augment.Config) { c.Crop.Scale = [2]float64{0.5, 0.2} }, []string{"crop.scale"}},
		{"scale from 0", func(c *augment.Config) { c.Crop.Scale = [2]float64{0, 1} }, []string{"crop.scale"}},
		{"ratio", func(c *augment.Config) { c.Crop.Ratio = [2]float64{-1, 1} }, []string{"crop.ratio"}},
		{
			"not numbers",
			func(c *augment.Config) {
				low, high := [2]float64{nan, 1}, [2]float64{1, nan}
				c.Crop = augment.Crop{Scale: low, Ratio: high}
				c.Flip, c.Rotate, c.Brightness = nan, nan, nan
				c.Occlude = augment.Occlude{Probability: nan, Scale: high, Ratio: low, Value: nan}
				c.Mean, c.Std = []float64{nan, 0, 0}, []float64{1, nan, 1}
			},
			[]string{
				"crop.scale", "crop.ratio", "flip", "rotate", "brightness", "occlude.probability", "occlude.scale",
				"occlude.ratio", "occlude.value", "mean of channel 0", "std of channel 1",
			},
		},
		{
			"many", func(c *augment.Config) { c.Flip, c.Rotate, c.Brightness = 2, -1, -1 },
			[]string{"flip is 2", "rotate is -1", "brightness is -1"},
		},
		{
			"occlude", func(c *augment.Config) {
				c.Occlude.Probability, c.Occlude.Scale, c.Occlude.Value = 1, [2]float64{}, math.Inf(1)
			},
			[]string{"occlude.scale", "occlude.value"},
		},
		{"mean without std", func(c *augment.Config) { c.Std = nil }, []string{"std has 0 values"}},
		{"std 0", func(c *augment.Config) { c.Std = []float64{1, 0, 1} }, []string{"std of channel 1 is 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := strong(224, 3)
			c.change(&config)
			_, err := augment.New(config)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not speak of %q", err, part)
				}
			}
		})
	}
}

func TestPipelineKeepsItsConfig(t *testing.T) {
	c := weak(32, 3)
	c.Crop = augment.Crop{}
	p := pipeline(t, c)
	c.Mean[0] = 99
	got := p.Config()
	if got.Mean[0] == 99 {
		t.Error("the pipeline shares its mean with the caller")
	}
	got.Std[0] = 99
	if p.Config().Std[0] == 99 {
		t.Error("the pipeline gives its deviation away")
	}
	one := [2]float64{1, 1}
	if got.Crop.Scale != one || got.Crop.Ratio != one || p.Len() != 32*32*3 {
		t.Errorf("config %+v, length %d", got, p.Len())
	}
}
