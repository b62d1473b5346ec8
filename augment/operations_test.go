package augment_test

import (
	"math"
	"testing"

	"pupil/augment"
)

// plain is a pipeline without any random operation or normalisation.
func plain(size, channels int) augment.Config { return augment.Config{Size: size, Channels: channels} }

func apply(t *testing.T, c augment.Config, img *augment.Image, key augment.Key) []float32 {
	t.Helper()
	p := pipeline(t, c)
	dst := make([]float32, p.Len())
	for i := range dst {
		dst[i] = float32(math.NaN()) // every value must be written
	}
	p.Apply(dst, img, key)
	return dst
}

func TestIdentity(t *testing.T) {
	for _, channels := range []int{1, 3} {
		img := noise(28, 28, channels, 2)
		for i, v := range apply(t, plain(28, channels), img, augment.Key{}) {
			if v != float32(img.Pix[i])/255 {
				t.Fatalf("value %d is %g, pixel %d", i, v, img.Pix[i])
			}
		}
	}
}

func TestNormalize(t *testing.T) {
	img := noise(16, 16, 3, 3)
	c := plain(16, 3)
	c.Mean, c.Std = []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	for i, v := range apply(t, c, img, augment.Key{}) {
		want := (float64(img.Pix[i])/255 - c.Mean[i%3]) / c.Std[i%3]
		if math.Abs(float64(v)-want) > 1e-6 {
			t.Fatalf("value %d is %g, want %g", i, v, want)
		}
	}
}

// An image that is not square shows its centre.
func TestCentredSquare(t *testing.T) {
	for _, size := range [][2]int{{30, 20}, {20, 30}, {20, 21}} {
		img := noise(size[0], size[1], 1, 4)
		left, top := (size[0]-20)/2, (size[1]-20)/2
		for i, v := range apply(t, plain(20, 1), img, augment.Key{}) {
			if want := img.Pix[(top+i/20)*size[0]+left+i%20]; v != float32(want)/255 {
				t.Fatalf("%v: value %d is %g, want pixel %d", size, i, v, want)
			}
		}
	}
}

func TestFlip(t *testing.T) {
	for _, channels := range []int{1, 3} {
		for _, size := range []int{1, 2, 7, 8} {
			img := noise(size, size, channels, 5)
			c := plain(size, channels)
			straight := apply(t, c, img, augment.Key{})
			c.Flip = 1
			for i, v := range apply(t, c, img, augment.Key{}) {
				pixel, channel := i/channels, i%channels
				x, y := pixel%size, pixel/size
				if want := straight[(y*size+size-1-x)*channels+channel]; v != want {
					t.Fatalf("size %d: value %d is %g, want %g", size, i, v, want)
				}
			}
		}
	}
}

// Quarter turns of a square are exact permutations: counterclockwise, as torchvision turns.
func TestRotateQuarterTurns(t *testing.T) {
	for _, size := range []int{1, 2, 7, 28} {
		for _, channels := range []int{1, 3} {
			src := apply(t, plain(size, channels), noise(size, size, channels, 6), augment.Key{})
			at := func(x, y, c int) float32 { return src[(y*size+x)*channels+c] }
			end := size - 1
			for degrees, want := range map[float64]func(x, y, c int) float32{
				0:    at,
				90:   func(x, y, c int) float32 { return at(end-y, x, c) },
				-90:  func(x, y, c int) float32 { return at(y, end-x, c) },
				180:  func(x, y, c int) float32 { return at(end-x, end-y, c) },
				-180: func(x, y, c int) float32 { return at(end-x, end-y, c) },
			} {
				got := append([]float32(nil), src...)
				augment.Rotate(got, size, channels, degrees)
				for i, v := range got {
					x, y, c := i/channels%size, i/channels/size, i%channels
					if math.Abs(float64(v-want(x, y, c))) > 1e-5 {
						t.Fatalf("size %d, %g degrees: (%d, %d) is %g, want %g", size, degrees, x, y, v, want(x, y, c))
					}
				}
			}
		}
	}
}

// Any angle against the definition in float64: the source position by a rotation matrix, the value by two triangles.
func TestRotateAgainstDefinition(t *testing.T) {
	const size = 15
	src := apply(t, plain(size, 3), noise(size, size, 3, 7), augment.Key{})
	for _, degrees := range []float64{1, -7.3, 30, 45, 101, -179} {
		got := append([]float32(nil), src...)
		augment.Rotate(got, size, 3, degrees)
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		for i, v := range got {
			dx, dy := float64(i/3%size)-(size-1)/2.0, float64(i/3/size)-(size-1)/2.0
			fx, fy := cos*dx-sin*dy+(size-1)/2.0, sin*dx+cos*dy+(size-1)/2.0
			want := 0.0
			for j := range src {
				if j%3 == i%3 {
					wx, wy := 1-math.Abs(fx-float64(j/3%size)), 1-math.Abs(fy-float64(j/3/size))
					want += max(0, wx) * max(0, wy) * float64(src[j])
				}
			}
			if math.Abs(float64(v)-want) > 1e-6 {
				t.Fatalf("%g degrees: value %d is %g, want %g", degrees, i, v, want)
			}
		}
	}
}

func TestBrightness(t *testing.T) {
	img := noise(20, 20, 3, 8)
	straight := apply(t, plain(20, 3), img, augment.Key{})
	c := plain(20, 3)
	c.Brightness = 1
	for sample := range uint64(20) {
		key := augment.Key{Sample: sample}
		factor := augment.DrawFactor(1, key)
		for i, v := range apply(t, c, img, key) {
			if want := min(1, straight[i]*factor); v != want {
				t.Fatalf("factor %g: value %d is %g, want %g", factor, i, v, want)
			}
		}
	}
	c.Brightness = 0
	for i, v := range apply(t, c, img, augment.Key{}) {
		if v != straight[i] {
			t.Fatal("brightness 0 changed a value")
		}
	}
}

// What is hidden is one rectangle of the value, in the bounds of its share and ratio, and nothing else changes.
func TestOcclude(t *testing.T) {
	const size = 32
	img := noise(size, size, 3, 9)
	c := weak(size, 3)
	straight := c
	c.Occlude = augment.Occlude{Probability: 1, Scale: [2]float64{0.1, 0.3}, Ratio: [2]float64{0.5, 2}, Value: -77}
	for sample := range uint64(200) {
		key := augment.Key{Seed: 1, Sample: sample}
		want := apply(t, straight, img, key)
		left, top, right, bottom, hidden := size, size, -1, -1, 0
		for i, v := range apply(t, c, img, key) {
			if v != -77 {
				if v != want[i] {
					t.Fatalf("sample %d: value %d outside of the rectangle is %g, want %g", sample, i, v, want[i])
				}
				continue
			}
			x, y := i/3%size, i/3/size
			left, top, right, bottom = min(left, x), min(top, y), max(right, x), max(bottom, y)
			hidden++
		}
		width, height := right-left+1, bottom-top+1
		if hidden != 3*width*height {
			t.Fatalf("sample %d: %d values are hidden in %d x %d pixels", sample, hidden, width, height)
		}
		share, ratio := float64(width*height)/(size*size), float64(height)/float64(width)
		if share < 0.08 || share > 0.33 || ratio < 0.45 || ratio > 2.3 {
			t.Errorf("sample %d: share %.3f, ratio %.3f", sample, share, ratio)
		}
	}
}

func TestApplyConvertsChannels(t *testing.T) {
	rgb := noise(16, 16, 3, 10)
	for _, c := range []struct {
		img  *augment.Image
		want *augment.Image
	}{{rgb, rgb.Convert(1)}, {rgb.Convert(1), rgb.Convert(1).Convert(3)}} {
		for i, v := range apply(t, plain(16, c.want.Channels), c.img, augment.Key{}) {
			if v != float32(c.want.Pix[i])/255 {
				t.Fatalf("value %d is %g, pixel %d", i, v, c.want.Pix[i])
			}
		}
	}
}

func TestApplyPanicsOnBugs(t *testing.T) {
	p := pipeline(t, plain(8, 1))
	dst, whole := make([]float32, 64), noise(8, 8, 1, 1)
	for name, call := range map[string]func(){
		"short dst":   func() { p.Apply(dst[1:], whole, augment.Key{}) },
		"no pixels":   func() { p.Apply(dst, &augment.Image{}, augment.Key{}) },
		"few pixels":  func() { p.Apply(dst, &augment.Image{Width: 8, Height: 8, Channels: 1}, augment.Key{}) },
		"no channels": func() { p.Apply(dst, &augment.Image{Width: 8, Height: 8}, augment.Key{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}
