package augment

import (
	"math"

	"pupil/internal/random/elementary"
)

// drawAngle returns the angle of a view in degrees, counterclockwise.
func drawAngle(limit float64, key Key) float64 { return key.stream(opRotate).Uniform(-limit, limit) }

// rotate turns v [size, size, channels] counterclockwise about its centre, in place: torchvision's RandomRotation with
// bilinear interpolation, expand=False and fill 0. What comes from outside the image is 0, which is black, since
// normalisation comes later; an edge fades to it over one pixel (grid_sample's padding_mode "zeros").
func rotate(v []float32, size, channels int, degrees float64, s *scratch) {
	s.turned = grow(s.turned, len(v))
	src := s.turned
	copy(src, v)
	sin, cos := elementary.SinCos(float64(degrees * (math.Pi / 180)))
	half := float64(float64(size-1) / 2)
	for y := range size {
		dy := float64(y) - half
		// The source of the pixel at (dx, dy) from the centre is (cos dx - sin dy, sin dx + cos dy): rows grow
		// downwards.
		baseX, baseY := half-float64(sin*dy), half+float64(cos*dy)
		for x := range size {
			dx := float64(x) - half
			fx, fy := baseX+float64(cos*dx), baseY+float64(sin*dx)
			out := v[(y*size+x)*channels:][:channels]
			bilinear(out, src, size, fx, fy)
		}
	}
}

// bilinear writes the value of src [size, size, len(out)] at column fx and row fy; neighbours outside of src are 0.
func bilinear(out, src []float32, size int, fx, fy float64) {
	channels := len(out)
	left, top := math.Floor(fx), math.Floor(fy)
	x, y := int(left), int(top)
	ax, ay := float32(fx-left), float32(fy-top)
	if x >= 0 && y >= 0 && x+1 < size && y+1 < size {
		i := (y*size + x) * channels
		a, b := src[i:i+2*channels], src[i+size*channels:][:2*channels]
		for c := range out {
			upper := a[c] + float32(ax*(a[c+channels]-a[c]))
			lower := b[c] + float32(ax*(b[c+channels]-b[c]))
			out[c] = upper + float32(ay*(lower-upper))
		}
		return
	}
	at := func(x, y, c int) float32 {
		if x < 0 || y < 0 || x >= size || y >= size {
			return 0
		}
		return src[(y*size+x)*channels+c]
	}
	for c := range out {
		a, b := at(x, y, c), at(x, y+1, c)
		upper := a + float32(ax*(at(x+1, y, c)-a))
		lower := b + float32(ax*(at(x+1, y+1, c)-b))
		out[c] = upper + float32(ay*(lower-upper))
	}
}
