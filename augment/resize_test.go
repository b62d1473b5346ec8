package augment_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pupil/augment"
	"pupil/internal/random"
)

// noise is an image of random pixels.
func noise(width, height, channels int, seed uint64) *augment.Image {
	s := random.New(random.PurposeTest, seed)
	img := &augment.Image{Width: width, Height: height, Channels: channels, Pix: make([]uint8, width*height*channels)}
	for i := range img.Pix {
		img.Pix[i] = uint8(s.IntN(256))
	}
	return img
}

// greatest is the greatest difference of two vectors.
func greatest(a []float32, b []float64) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-b[i]))
	}
	return worst
}

func TestResizeKnownValues(t *testing.T) {
	grey := func(width, height int, pix ...uint8) *augment.Image {
		return &augment.Image{Width: width, Height: height, Channels: 1, Pix: pix}
	}
	for _, c := range []struct {
		name string
		img  *augment.Image
		size int
		want []float64 // times 255
	}{
		{"identity", grey(2, 2, 10, 20, 30, 40), 2, []float64{10, 20, 30, 40}},
		{"one pixel", grey(1, 1, 9), 3, slices.Repeat([]float64{9}, 9)},
		{"whole to one", grey(2, 2, 10, 20, 30, 40), 1, []float64{25}},
		{ // the centres fall on 1/4, 3/4, 5/4 and 7/4
			"doubled", grey(2, 2, 0, 100, 0, 100), 4,
			slices.Repeat([]float64{0, 25, 75, 100}, 4),
		},
		{ // the weights are 3/4, 3/4, 1/4 of pixels 0, 1, 2, over their sum
			"halved", grey(4, 4, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210, 0, 70, 140, 210, 0), 2,
			[]float64{120, 110, 120, 110},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make([]float32, c.size*c.size)
			augment.Resize(got, c.size, c.img, augment.Rectangle{Width: c.img.Width, Height: c.img.Height})
			for i, v := range got {
				if math.Abs(float64(v)*255-c.want[i]) > 1e-4 {
					t.Fatalf("value %d is %g, want %g", i, v*255, c.want[i])
				}
			}
		})
	}
}

// PIL rounds to 8 bits after the columns and after the rows, we after the rows only here.
func TestResizeAgainstPIL(t *testing.T) {
	var cases []struct {
		What                          string
		Width, Height, Channels, Size int
		Resize                        int
		Box                           [4]int
		Pixels, Want                  []byte
	}
	readJSON(t, "testdata/resize.json", &cases)
	if len(cases) < 43 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		img := &augment.Image{Width: c.Width, Height: c.Height, Channels: c.Channels, Pix: c.Pixels}
		got := make([]float32, c.Size*c.Size*c.Channels)
		plain := plain(c.Size, c.Channels)
		plain.Resize = c.Resize
		box := augment.Rectangle{X: c.Box[0], Y: c.Box[1], Width: c.Box[2] - c.Box[0], Height: c.Box[3] - c.Box[1]}
		augment.Resize(got, c.Size, img, box)
		if c.What == "evaluation" || c.Resize > 0 {
			got = apply(t, plain, img, augment.Key{})
		}
		worst, sum := 0, 0
		for i, v := range got {
			d := int(math.Round(float64(v)*255)) - int(c.Want[i])
			worst, sum = max(worst, d, -d), sum+max(d, -d)
		}
		name := fmt.Sprintf("%s, %d x %d x %d, part %v, to %d", c.What, c.Width, c.Height, c.Channels, c.Box, c.Size)
		if box.Height == c.Size && c.Resize == 0 && worst > 0 {
			t.Errorf("%s: only columns change, and the greatest difference is %d of 255", name, worst)
		}
		if mean := float64(sum) / float64(len(got)); worst > 1 || mean > 0.1 {
			t.Errorf("%s: the greatest difference is %d of 255, the mean %.3f", name, worst, mean)
		}
	}
}

// A side of any length costs no more than what is seen of it.
func TestResizeAndCutOfALine(t *testing.T) {
	c := plain(8, 1)
	c.Resize = 10
	img := &augment.Image{Width: 1, Height: augment.MaxPixels, Channels: 1, Pix: make([]uint8, augment.MaxPixels)}
	for i := range img.Pix {
		img.Pix[i] = 51
	}
	for _, v := range apply(t, c, img, augment.Key{}) {
		if math.Abs(float64(v)-0.2) > 1e-6 {
			t.Fatalf("a value is %v; want 0.2", v)
		}
	}
}

// slowResize is the definition: each pass gives means that are weighted by a triangle; in the first one the weights
// have 22 binary digits and the means are rounded to integers.
func slowResize(img *augment.Image, r augment.Rectangle, size int) []float64 {
	weights := func(from, i int) []float64 {
		scale, sum, w := float64(from)/float64(size), 0.0, make([]float64, from)
		for j := range w {
			w[j] = max(0, 1-math.Abs(float64(j)+0.5-(float64(i)+0.5)*scale)/max(1, scale))
			sum += w[j]
		}
		for j := range w {
			w[j] /= sum
		}
		return w
	}
	column := func(x, y, c int) float64 {
		sum := 0.0
		for i, w := range weights(r.Width, x) {
			sum += math.Round(w*(1<<22)) * float64(img.Pix[((r.Y+y)*img.Width+r.X+i)*img.Channels+c])
		}
		return math.Floor(sum/(1<<22) + 0.5)
	}
	out := make([]float64, 0, size*size*img.Channels)
	for y := range size {
		for x := range size {
			for c := range img.Channels {
				sum := 0.0
				for j, w := range weights(r.Height, y) {
					if w > 0 {
						sum += w * column(x, j, c) / 255
					}
				}
				out = append(out, sum)
			}
		}
	}
	return out
}

func TestResizeAgainstDefinition(t *testing.T) {
	for _, c := range []struct {
		width, height, channels, size int
		part                          augment.Rectangle
	}{
		{9, 9, 1, 4, augment.Rectangle{Width: 9, Height: 9}},
		{9, 9, 3, 4, augment.Rectangle{X: 2, Y: 1, Width: 7, Height: 8}},
		{11, 6, 3, 6, augment.Rectangle{Width: 11, Height: 6}},
		{6, 11, 3, 6, augment.Rectangle{Width: 6, Height: 11}},
		{5, 5, 3, 12, augment.Rectangle{X: 1, Y: 1, Width: 1, Height: 4}},
		{60, 45, 1, 7, augment.Rectangle{X: 3, Y: 2, Width: 50, Height: 40}},
		{33, 33, 3, 32, augment.Rectangle{Width: 33, Height: 33}},
		{100, 3, 3, 3, augment.Rectangle{Width: 100, Height: 3}},
		{3, 100, 3, 3, augment.Rectangle{Width: 3, Height: 100}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			img := noise(c.width, c.height, c.channels, 1)
			got := make([]float32, c.size*c.size*c.channels)
			augment.Resize(got, c.size, img, c.part)
			if d := greatest(got, slowResize(img, c.part, c.size)); d > 1e-6 {
				t.Errorf("the greatest difference is %g", d)
			}
		})
	}
}
