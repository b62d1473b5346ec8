package augment

import "math"

// Picture returns a view as an image that people can look at: the normalisation is undone, values are rounded to 8 bits
// and cut to 0..255. It panics when the view has not Len() values.
func (p *Pipeline) Picture(view []float32) *Image {
	p.checkLength(view)
	c := &p.config
	m := &Image{c.Size, c.Size, c.Channels, make([]uint8, len(view))}
	for i, v := range view {
		x := float64(v)
		if len(c.Mean) > 0 {
			x = float64(x*c.Std[i%c.Channels]) + c.Mean[i%c.Channels]
		}
		if x > 0 { // not NaN
			m.Pix[i] = uint8(math.RoundToEven(255 * min(x, 1)))
		}
	}
	return m
}
