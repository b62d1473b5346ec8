package augment

import (
	"math"

	"pupil/internal/random/elementary"
)

// drawAngle returns the angle of a view in degrees, counterclockwise.
func drawAngle(limit float64, key Key) float64 { return key.stream(opRotate).Uniform(-limit, limit) }

// point is the number of binary digits after the point of a position in a rotation's source.
const point = 32

// rotate writes src [size, size, channels], turned counterclockwise about its centre, to dst: torchvision's
// RandomRotation with bilinear interpolation, expand=False and fill 0. What comes from outside the image is 0, which is
// black, since last (brightness and normalisation) comes later; an edge fades to it over one pixel (grid_sample's
// padding_mode "zeros").
//
// The source of the pixel at (dx, dy) from the centre is (cos dx - sin dy, sin dx + cos dy): rows grow downwards.
// Positions are fixed-point numbers, whose error over the widest view is under 2^-20 pixels.
func rotate(dst, src []float32, size, channels int, degrees float64, last finish) {
	sin, cos := elementary.SinCos(float64(degrees * (math.Pi / 180)))
	stepX, stepY := fixed(cos), fixed(sin)
	half := float64(size-1) / 2
	row := size * channels
	for y := range size {
		dy := float64(y) - half
		fx := fixed(half - float64(sin*dy) - float64(cos*half))
		fy := fixed(half + float64(cos*dy) - float64(sin*half))
		out := dst[y*row:][:row]
		if channels == 3 {
			rotateRGB(out, src, size, fx, fy, stepX, stepY)
		} else {
			rotateGrey(out, src, size, fx, fy, stepX, stepY)
		}
		last.apply(out)
	}
}

func fixed(v float64) int64 { return int64(math.RoundToEven(v * (1 << point))) }

// fraction is what comes after the point, with 24 digits, so that float32 holds it exactly.
func fraction(v int64) float32 { return float32(int32(uint32(v)>>8)) * (1.0 / (1 << 24)) }

// rotateRGB writes one row: the values of src at (fx, fy), (fx + stepX, fy + stepY), ...
func rotateRGB(out, src []float32, size int, fx, fy, stepX, stepY int64) {
	inside := uint64(size - 1)
	for ; len(out) >= 3; out = out[3:] {
		x, y := fx>>point, fy>>point
		if uint64(x) < inside && uint64(y) < inside {
			ax, ay := fraction(fx), fraction(fy)
			i := (int(y)*size + int(x)) * 3
			a, b := src[i:][:6], src[i+3*size:][:6]
			u0, l0 := a[0]+float32(ax*(a[3]-a[0])), b[0]+float32(ax*(b[3]-b[0]))
			u1, l1 := a[1]+float32(ax*(a[4]-a[1])), b[1]+float32(ax*(b[4]-b[1]))
			u2, l2 := a[2]+float32(ax*(a[5]-a[2])), b[2]+float32(ax*(b[5]-b[2]))
			out[0] = u0 + float32(ay*(l0-u0))
			out[1] = u1 + float32(ay*(l1-u1))
			out[2] = u2 + float32(ay*(l2-u2))
		} else {
			border(out[:3], src, size, fx, fy)
		}
		fx, fy = fx+stepX, fy+stepY
	}
}

// rotateGrey is rotateRGB for one channel.
func rotateGrey(out, src []float32, size int, fx, fy, stepX, stepY int64) {
	inside := uint64(size - 1)
	for o := range out {
		x, y := fx>>point, fy>>point
		if uint64(x) < inside && uint64(y) < inside {
			ax, ay := fraction(fx), fraction(fy)
			i := int(y)*size + int(x)
			a, b := src[i:][:2], src[i+size:][:2]
			upper, lower := a[0]+float32(ax*(a[1]-a[0])), b[0]+float32(ax*(b[1]-b[0]))
			out[o] = upper + float32(ay*(lower-upper))
		} else {
			border(out[o:o+1], src, size, fx, fy)
		}
		fx, fy = fx+stepX, fy+stepY
	}
}

// border writes the value of src [size, size, len(out)] at (fx, fy), anywhere: neighbours outside of src are 0.
func border(out, src []float32, size int, fx, fy int64) {
	x, y := int(fx>>point), int(fy>>point)
	if x < -1 || y < -1 || x >= size || y >= size {
		clear(out)
		return
	}
	ax, ay := fraction(fx), fraction(fy)
	at := func(x, y, c int) float32 {
		if x < 0 || y < 0 || x >= size || y >= size {
			return 0
		}
		return src[(y*size+x)*len(out)+c]
	}
	for c := range out {
		a, b := at(x, y, c), at(x, y+1, c)
		upper := a + float32(ax*(at(x+1, y, c)-a))
		lower := b + float32(ax*(at(x+1, y+1, c)-b))
		out[c] = upper + float32(ay*(lower-upper))
	}
}
