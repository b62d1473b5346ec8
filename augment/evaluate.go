package augment

import "math"

// resizeAndCut changes the shorter side of img to shorter and writes the centred square of that to dst [size, size,
// img.Channels], as torchvision's Resize and CenterCrop do it: the longer side is rounded down, a margin that cannot
// be halved goes to the even half. Pixels are those of resize; what is cut off counts where the filter reaches it. Only
// what the square needs is computed, however long the longer side is.
func resizeAndCut(dst []float32, size int, img *Image, shorter int, last finish, s *scratch) {
	width, height := shorter, shorter
	if img.Width < img.Height {
		height = shorter * img.Height / img.Width
	} else {
		width = shorter * img.Width / img.Height
	}
	left := int(math.RoundToEven(float64(width-size) / 2))
	top := int(math.RoundToEven(float64(height-size) / 2))
	s.columns.window(img.Width, width, left, size, false)
	s.rows.window(img.Height, height, top, size, false)
	c := img.Channels
	row := size * c
	_, start := s.rows.of(0)
	weights, end := s.rows.of(size - 1)
	end += len(weights)
	s.narrow = grow(s.narrow, (end-start)*row)
	for y := start; y < end; y++ {
		out, src := s.narrow[(y-start)*row:][:row], img.Pix[y*img.Width*c:][:img.Width*c]
		if c == 1 {
			s.columns.grey(out, src)
		} else {
			s.columns.rgb(out, src)
		}
	}
	for y := range size {
		weights, first := s.rows.of(y)
		out := dst[y*row:][:row]
		combine(out, s.narrow[(first-start)*row:], weights)
		last.apply(out)
	}
}
