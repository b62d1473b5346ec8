package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"  // decoders by format
	_ "image/jpeg" //
	_ "image/png"  //
	"math"

	_ "golang.org/x/image/bmp"  //
	_ "golang.org/x/image/tiff" //
	_ "golang.org/x/image/webp" //
)

// maxPixels bounds the images that are packed: a few bytes can announce a picture that fills any memory.
const maxPixels = 1 << 26

// decode decodes an image of one of the formats that the package imports.
func decode(data []byte) (image.Image, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if config.Width < 1 || config.Height < 1 {
		return nil, errors.New("the image has no pixels")
	}
	if config.Width > maxPixels/config.Height {
		return nil, fmt.Errorf("%d x %d pixels, the limit is %d in all", config.Width, config.Height, maxPixels)
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	return m, err
}

// statistics sums pixels by channel, as 8-bit values and in integers, so that the result is exact and does not depend
// on the order of the images. What is transparent counts as black.
type statistics struct {
	coloured bool
	pixels   uint64
	sum      [3]uint64
	squares  [3]uint64
	scratch  *image.RGBA
}

func (s *statistics) add(m image.Image) {
	bounds := m.Bounds()
	if s.scratch == nil || s.scratch.Rect != bounds {
		s.scratch = image.NewRGBA(bounds)
	}
	draw.Draw(s.scratch, bounds, m, bounds.Min, draw.Src)
	for p := s.scratch.Pix; len(p) > 0; p = p[4:] {
		s.coloured = s.coloured || p[0] != p[1] || p[1] != p[2]
		for i, v := range [3]uint64{uint64(p[0]), uint64(p[1]), uint64(p[2])} {
			s.sum[i] += v
			s.squares[i] += v * v
		}
	}
	s.pixels += uint64(bounds.Dx()) * uint64(bounds.Dy())
}

// result returns the channels, and by channel mean = S/n and std = sqrt(Q/n - mean^2) of the pixels / 255. A constant
// channel gets the deviation 1/255, one grey level, because views are divided by it.
func (s *statistics) result() (channels int, mean, std []float64) {
	channels = 1
	if s.coloured {
		channels = 3
	}
	for i := range channels {
		n := float64(s.pixels)
		m := float64(s.sum[i]) / n / 255
		q := float64(s.squares[i]) / n / (255 * 255)
		variance := q - float64(m*m)
		mean = append(mean, m)
		std = append(std, math.Sqrt(max(variance, 1.0/(255*255))))
	}
	return channels, mean, std
}
