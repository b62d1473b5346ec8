package dataset

import (
	"fmt"
	"math"

	"pupil/augment"
)

// statistics sums pixels by channel, as the 8-bit values that training sees and in integers, so that the result is exact and
// does not depend on the order of the images.
type statistics struct {
	Coloured bool      `json:"coloured"`
	Pixels   uint64    `json:"pixels"`
	Sum      [3]uint64 `json:"sum"`
	Squares  [3]uint64 `json:"squares"`
}

// addEncoded decodes an image, over black where it is transparent, and adds its pixels.
func (s *statistics) addEncoded(encoded []byte) error {
	m, err := augment.DecodeOver(encoded, 3, [3]uint8{})
	if err != nil {
		return err
	}
	if len(m.Pix) != 3*m.Width*m.Height {
		return fmt.Errorf("%d x %d pixels have %d values", m.Width, m.Height, len(m.Pix))
	}
	for p := m.Pix; len(p) > 0; p = p[3:] {
		s.Coloured = s.Coloured || p[0] != p[1] || p[1] != p[2]
		for i, v := range [3]uint64{uint64(p[0]), uint64(p[1]), uint64(p[2])} {
			s.Sum[i] += v
			s.Squares[i] += v * v
		}
	}
	s.Pixels += uint64(m.Width) * uint64(m.Height)
	return nil
}

// merge adds the sums of other images.
func (s *statistics) merge(o statistics) {
	s.Coloured = s.Coloured || o.Coloured
	s.Pixels += o.Pixels
	for i := range s.Sum {
		s.Sum[i] += o.Sum[i]
		s.Squares[i] += o.Squares[i]
	}
}

// result returns the channels, and by channel mean = S/n and std = sqrt(Q/n - mean^2) of the pixels / 255. A constant
// channel gets the deviation 1/255, one grey level, because views are divided by it.
func (s *statistics) result() (channels int, mean, std []float64) {
	channels = 1
	if s.Coloured {
		channels = 3
	}
	for i := range channels {
		n := float64(s.Pixels)
		m := float64(s.Sum[i]) / n / 255
		q := float64(s.Squares[i]) / n / (255 * 255)
		variance := q - float64(m*m)
		mean = append(mean, m)
		std = append(std, math.Sqrt(max(variance, 1.0/(255*255))))
	}
	return channels, mean, std
}
