package augment

import (
	"math"

	"pupil/internal/random/elementary"
)

// draw chooses the rectangle that is replaced, or says that none is: the algorithm of torchvision's
// RandomErasing.get_params, with Ratio as height / width. A rectangle is smaller than the view in both directions;
// after ten that are not, the view stays as it is.
func (o Occlude) draw(size int, key Key) (rectangle, bool) {
	s := key.stream(opOcclude)
	if s.Float64() >= o.Probability {
		return rectangle{}, false
	}
	area := float64(size) * float64(size)
	logRatio := logarithms(o.Ratio)
	for range attempts {
		target := area * s.Uniform(o.Scale[0], o.Scale[1])
		ratio := elementary.Exp(s.Uniform(logRatio[0], logRatio[1]))
		h := roundToInt(math.Sqrt(target * ratio))
		w := roundToInt(math.Sqrt(target / ratio))
		if h < size && w < size {
			return place(s, w, h, size, size), true
		}
	}
	return rectangle{}, false
}

// occlude fills a rectangle of v [size, size, channels] with a value for each channel.
func occlude(v []float32, size, channels int, r rectangle, value [3]float32) {
	if r.width == 0 || r.height == 0 {
		return
	}
	first := v[(r.y*size+r.x)*channels:][:r.width*channels]
	for row := first; len(row) > 0; row = row[channels:] {
		copy(row[:channels], value[:])
	}
	for y := r.y + 1; y < r.y+r.height; y++ {
		copy(v[(y*size+r.x)*channels:][:len(first)], first)
	}
}
