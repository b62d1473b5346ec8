package augment_test

import (
	"math"
	"slices"
	"testing"

	"pupil/augment"
)

// A view without random operations is the image again; what is out of range, or no number, is cut.
func TestPicture(t *testing.T) {
	for _, channels := range []int{1, 3} {
		c := weak(16, channels)
		c.Flip, c.Crop = 0, augment.Crop{}
		p, img := pipeline(t, c), noise(16, 16, channels, 3)
		view := make([]float32, p.Len())
		p.Apply(view, img, augment.Key{})
		if got := p.Picture(view); !slices.Equal(got.Pix, img.Pix) || got.Width != 16 || got.Height != 16 {
			t.Errorf("%d channels: the picture is not the image", channels)
		}
	}
	p := pipeline(t, plain(2, 1))
	got := p.Picture([]float32{-3, 7, float32(math.NaN()), float32(math.Inf(1))})
	if !slices.Equal(got.Pix, []uint8{0, 255, 0, 255}) {
		t.Errorf("%v", got.Pix)
	}
}
