package augment

import (
	"math"

	"pupil/internal/random"
	"pupil/internal/random/elementary"
)

// attempts is how often torchvision draws a rectangle before it gives up.
const attempts = 10

// draw chooses the part of an image of the given size: the algorithm of torchvision's RandomResizedCrop.get_params. The
// share of the area is uniform in Scale, the logarithm of the ratio is uniform between those of Ratio; after ten
// rectangles that do not fit it is the largest centred part whose ratio is within Ratio. Scale and Ratio [1, 1] give
// the largest centred square without a draw.
func (c Crop) draw(width, height int, key Key) rectangle {
	if c.whole() {
		side := min(width, height)
		return centred(side, side, width, height)
	}
	return c.drawRatio(width, height, 1, key)
}

// drawIn chooses a part of another crop as if that, stretched to a square, were the image: Scale is the share of the
// outer area and Ratio is relative to the outer ratio, so that 1 keeps it. Scale and Ratio [1, 1] give the whole of it.
func (c Crop) drawIn(outer rectangle, key Key) rectangle {
	if c.whole() {
		return outer
	}
	r := c.drawRatio(outer.width, outer.height, float64(outer.width)/float64(outer.height), key)
	r.x, r.y = outer.x+r.x, outer.y+r.y
	return r
}

func (c Crop) whole() bool {
	one := [2]float64{1, 1}
	return c.Scale == one && c.Ratio == one
}

// drawRatio draws with ratios that are multiplied by unit.
func (c Crop) drawRatio(width, height int, unit float64, key Key) rectangle {
	s := key.stream(opCrop)
	area := float64(width) * float64(height)
	logRatio := logarithms(c.Ratio)
	for range attempts {
		target := area * s.Uniform(c.Scale[0], c.Scale[1])
		ratio := unit * elementary.Exp(s.Uniform(logRatio[0], logRatio[1]))
		w := roundToInt(math.Sqrt(target * ratio))
		h := roundToInt(math.Sqrt(target / ratio))
		if w >= 1 && w <= width && h >= 1 && h <= height {
			return place(s, w, h, width, height)
		}
	}
	return fallback(width, height, unit*c.Ratio[0], unit*c.Ratio[1])
}

// fallback is the largest centred part whose ratio is in [low, high].
func fallback(width, height int, low, high float64) rectangle {
	ratio := float64(width) / float64(height)
	switch {
	case ratio < low:
		return centred(width, max(1, roundToInt(float64(width)/low)), width, height)
	case ratio > high:
		return centred(max(1, roundToInt(float64(height)*high)), height, width, height)
	}
	return rectangle{0, 0, width, height}
}

func centred(w, h, width, height int) rectangle {
	return rectangle{(width - w) / 2, (height - h) / 2, w, h}
}

// place draws a rectangle's corner: first the row, as torchvision does, then the column.
func place(s *random.Stream, w, h, width, height int) rectangle {
	y := s.IntN(height - h + 1)
	x := s.IntN(width - w + 1)
	return rectangle{x, y, w, h}
}

func logarithms(r [2]float64) [2]float64 {
	return [2]float64{elementary.Log(r[0]), elementary.Log(r[1])}
}

// roundToInt rounds halves to even, as Python's round does.
func roundToInt(v float64) int { return int(math.RoundToEven(v)) }
