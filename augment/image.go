package augment

import "fmt"

// Image is a decoded image: 8 bits a value, layout [Height, Width, Channels], rows from the top.
type Image struct {
	Width, Height int
	Channels      int // 1 grey, 3 RGB
	Pix           []uint8
}

// Convert returns the image with another number of channels: itself when it has that many, else a new image. Grey is
// repeated; RGB becomes its luma (299 R + 587 G + 114 B) / 1000 of ITU-R 601, in the fixed point of PIL.
func (m *Image) Convert(channels int) *Image {
	if m.Channels == channels {
		return m
	}
	out := &Image{m.Width, m.Height, channels, make([]uint8, m.Width*m.Height*channels)}
	if channels == 1 {
		for i := range out.Pix {
			p := m.Pix[3*i:][:3]
			out.Pix[i] = luma(p[0], p[1], p[2])
		}
		return out
	}
	for i, v := range m.Pix {
		p := out.Pix[3*i:][:3]
		p[0], p[1], p[2] = v, v, v
	}
	return out
}

func luma(r, g, b uint8) uint8 {
	return uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
}

// check panics when the image is not whole; Decode's always are.
func (m *Image) check() {
	if m.Width < 1 || m.Height < 1 || (m.Channels != 1 && m.Channels != 3) ||
		len(m.Pix) != m.Width*m.Height*m.Channels {
		panic(fmt.Sprintf("augment: an image of %d x %d pixels, %d channels and %d values",
			m.Width, m.Height, m.Channels, len(m.Pix)))
	}
}
