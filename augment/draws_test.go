package augment_test

import (
	"math"
	"testing"

	"pupil/augment"
)

// The means of crops and occlusions are torchvision's (testdata/make_fixtures.py): parameters mean the same.
func TestDrawsAgainstTorchvision(t *testing.T) {
	var cases []struct {
		What          string
		Width, Height int
		Scale, Ratio  [2]float64
		Mean          struct{ X, Y, Width, Height float64 }
		Whole         float64
	}
	readJSON(t, "testdata/draws.json", &cases)
	const n = 40_000
	for _, c := range cases {
		var x, y, w, h, whole, count float64
		for i := range uint64(n) {
			key := augment.Key{Seed: 5, Sample: i, View: augment.StudentView}
			r, ok := augment.DrawCrop(augment.Crop{Scale: c.Scale, Ratio: c.Ratio}, c.Width, c.Height, key), true
			if c.What == "occlude" {
				o := augment.Occlude{Probability: 1, Scale: c.Scale, Ratio: c.Ratio}
				r, ok = augment.DrawOcclude(o, c.Width, key)
			}
			if !ok || c.What == "crop" && r.Width == c.Width && r.Height == c.Height {
				whole++
			}
			if !ok {
				continue
			}
			if r.X < 0 || r.Y < 0 || r.X+r.Width > c.Width || r.Y+r.Height > c.Height {
				t.Fatalf("%+v is outside of %d x %d", r, c.Width, c.Height)
			}
			x, y, w, h, count = x+float64(r.X), y+float64(r.Y), w+float64(r.Width), h+float64(r.Height), count+1
		}
		x, y, w, h, whole = x/count, y/count, w/count, h/count, whole/n
		// Both are means of 40,000 draws: five standard errors of the widest are about this.
		tolerance := 0.012 * float64(max(c.Width, c.Height))
		m := c.Mean
		for _, d := range []float64{x - m.X, y - m.Y, w - m.Width, h - m.Height, tolerance * (whole - c.Whole) / 0.01} {
			if math.Abs(d) > tolerance {
				t.Errorf("%s %d x %d: mean x %.2f y %.2f width %.2f height %.2f whole %.4f, want %+v whole %.4f",
					c.What, c.Width, c.Height, x, y, w, h, whole, m, c.Whole)
				break
			}
		}
	}
}

func TestDrawStatistics(t *testing.T) {
	const n = 40_000
	var flipped, occluded, angle, angle2, factor float64
	occlusion := augment.Occlude{Probability: 0.3, Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}}
	img := &augment.Image{Width: 2, Height: 1, Channels: 1, Pix: []uint8{0, 255}}
	flip := pipeline(t, augment.Config{Size: 2, Channels: 1, Flip: 0.25})
	square := &augment.Image{Width: 2, Height: 2, Channels: 1, Pix: append(img.Pix, img.Pix...)}
	dst := make([]float32, 4)
	for i := range uint64(n) {
		key := augment.Key{Seed: 9, Epoch: i % 7, Sample: i}
		flip.Apply(dst, square, key)
		flipped += float64(dst[0])
		if _, ok := augment.DrawOcclude(occlusion, 28, key); ok {
			occluded++
		}
		a := augment.DrawAngle(30, key)
		if math.Abs(a) > 30 {
			t.Fatalf("angle %g", a)
		}
		angle, angle2 = angle+a, angle2+a*a
		f := float64(augment.DrawFactor(1.5, key))
		if f < 0 || f > 2.5 {
			t.Fatalf("factor %g", f)
		}
		factor += f
	}
	for _, c := range []struct {
		name                 string
		got, want, tolerance float64
	}{
		{"share of flips", flipped / n, 0.25, 0.011},
		{"share of occlusions", occluded / n, 0.3, 0.012},
		{"mean angle", angle / n, 0, 0.45},
		{"mean square of the angle", angle2 / n, 300, 7},
		{"mean factor", factor / n, 1.25, 0.02},
	} {
		if math.Abs(c.got-c.want) > c.tolerance {
			t.Errorf("%s is %.4f, want %.4f", c.name, c.got, c.want)
		}
	}
}

func TestFallbackKeepsTheRatio(t *testing.T) {
	for _, c := range []struct {
		width, height int
		want          augment.Rectangle
	}{
		{300, 100, augment.Rectangle{X: 95, Y: 0, Width: 110, Height: 100}},
		{100, 300, augment.Rectangle{X: 0, Y: 94, Width: 100, Height: 111}},
		{1, 1000, augment.Rectangle{X: 0, Y: 499, Width: 1, Height: 1}},
	} {
		crop := augment.Crop{Scale: [2]float64{1, 1}, Ratio: [2]float64{0.9, 1.1}}
		if got := augment.DrawCrop(crop, c.width, c.height, augment.Key{}); got != c.want {
			t.Errorf("%d x %d: %+v, want %+v", c.width, c.height, got, c.want)
		}
	}
}
