package augment

import (
	"image"
	"image/color"
)

// background is the colour that lies under transparent pixels and around a GIF's first frame.
type background [3]uint8

// midGrey is the background of Decode.
var midGrey = background{128, 128, 128}

// convert returns m on a canvas of width x height, as 8-bit grey or RGB. A GIF's first frame can be smaller than its
// canvas; for everything else both are the same. studio says that YCbCr has the range of video (see studioReader).
func (under background) convert(m image.Image, width, height, channels int, studio bool) *Image {
	b := m.Bounds()
	width, height = max(width, b.Max.X), max(height, b.Max.Y)
	out := &Image{width, height, channels, make([]uint8, width*height*channels)}
	if b.Min.X > 0 || b.Min.Y > 0 || b.Max.X < width || b.Max.Y < height {
		colour := [3]uint8(under)
		if channels == 1 {
			colour[0] = luma(under[0], under[1], under[2])
		}
		for i := range out.Pix {
			out.Pix[i] = colour[i%channels]
		}
	}
	if g, ok := m.(*image.Gray); ok {
		copyGrey(out, g)
		return out
	}
	read := under.reader(m)
	if studio {
		read = under.studioReader(m, read)
	}
	var row []uint8
	if channels == 1 {
		row = make([]uint8, 3*b.Dx())
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		dst := out.Pix[(y*width+b.Min.X)*channels:][:b.Dx()*channels]
		if channels == 3 {
			read(dst, y)
			continue
		}
		read(row, y)
		for i := range dst {
			dst[i] = luma(row[3*i], row[3*i+1], row[3*i+2])
		}
	}
	return out
}

func copyGrey(out *Image, g *image.Gray) {
	b := g.Rect
	for y := b.Min.Y; y < b.Max.Y; y++ {
		src := g.Pix[(y-b.Min.Y)*g.Stride:][:b.Dx()]
		dst := out.Pix[(y*out.Width+b.Min.X)*out.Channels:]
		if out.Channels == 1 {
			copy(dst, src)
			continue
		}
		for i, v := range src {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	}
}

// reader returns a function that writes row y of m to dst [m's width, 3]. What the common decoders give has a fast
// path; the rest goes through color.Color.
func (under background) reader(m image.Image) func(dst []uint8, y int) {
	switch m := m.(type) {
	case *image.YCbCr:
		return func(dst []uint8, y int) { readYCbCr(dst, m, y) }
	case *image.NRGBA:
		return func(dst []uint8, y int) {
			for src := m.Pix[m.PixOffset(m.Rect.Min.X, y):]; len(dst) >= 3; dst, src = dst[3:], src[4:] {
				under.over(dst, src[0], src[1], src[2], src[3])
			}
		}
	case *image.Paletted:
		table := under.paletteTable(m.Palette)
		return func(dst []uint8, y int) {
			for src := m.Pix[m.PixOffset(m.Rect.Min.X, y):]; len(dst) >= 3; dst, src = dst[3:], src[1:] {
				copy(dst[:3], table[src[0]][:])
			}
		}
	case *image.CMYK:
		return func(dst []uint8, y int) {
			for src := m.Pix[m.PixOffset(m.Rect.Min.X, y):]; len(dst) >= 3; dst, src = dst[3:], src[4:] {
				dst[0], dst[1], dst[2] = color.CMYKToRGB(src[0], src[1], src[2], src[3])
			}
		}
	case *image.RGBA:
		return func(dst []uint8, y int) { under.readRGBA(dst, m, y) }
	}
	return func(dst []uint8, y int) {
		for x := m.Bounds().Min.X; len(dst) >= 3; x, dst = x+1, dst[3:] {
			under.blend(dst, m.At(x, y))
		}
	}
}

func readYCbCr(dst []uint8, m *image.YCbCr, y int) {
	if m.SubsampleRatio == image.YCbCrSubsampleRatio444 || m.SubsampleRatio == image.YCbCrSubsampleRatio440 {
		i, j := m.YOffset(m.Rect.Min.X, y), m.COffset(m.Rect.Min.X, y)
		for ; len(dst) >= 3; dst, i, j = dst[3:], i+1, j+1 {
			dst[0], dst[1], dst[2] = color.YCbCrToRGB(m.Y[i], m.Cb[j], m.Cr[j])
		}
		return
	}
	i := m.YOffset(m.Rect.Min.X, y)
	for x := m.Rect.Min.X; len(dst) >= 3; x, i, dst = x+1, i+1, dst[3:] {
		j := m.COffset(x, y)
		dst[0], dst[1], dst[2] = color.YCbCrToRGB(m.Y[i], m.Cb[j], m.Cr[j])
	}
}

// studioReader is reader for lossy WebP, whose luma is 16..235 and chroma 16..240 (ITU-R 601), where the YCbCr of
// package image, JPEG's, has 0..255. Other images are left to read.
func (under background) studioReader(m image.Image, read func(dst []uint8, y int)) func(dst []uint8, y int) {
	var ycc *image.YCbCr
	alpha := func(_, _ int) uint8 { return 255 }
	switch m := m.(type) {
	case *image.YCbCr:
		ycc = m
	case *image.NYCbCrA:
		ycc = &m.YCbCr
		alpha = func(x, y int) uint8 { return m.A[m.AOffset(x, y)] }
	default:
		return read
	}
	return func(dst []uint8, y int) {
		for x := ycc.Rect.Min.X; len(dst) >= 3; x, dst = x+1, dst[3:] {
			i, j := ycc.YOffset(x, y), ycc.COffset(x, y)
			r, g, b := studioToRGB(int32(ycc.Y[i]), int32(ycc.Cb[j]), int32(ycc.Cr[j]))
			under.over(dst, r, g, b, alpha(x, y))
		}
	}
}

// studioToRGB is the conversion of ITU-R 601 with 16 binary digits after the point: 255/219 for the luma, and for the
// chroma 255/224 times 1.402, 0.344136, 0.714136 and 1.772.
func studioToRGB(y, cb, cr int32) (r, g, b uint8) {
	y, cb, cr = (y-16)*76309+1<<15, cb-128, cr-128
	return cut(y + 104597*cr), cut(y - 25675*cb - 53279*cr), cut(y + 132201*cb)
}

func cut(v int32) uint8 { return uint8(min(max(v>>16, 0), 255)) }

// readRGBA reads colours that are multiplied by their alpha already.
func (under background) readRGBA(dst []uint8, m *image.RGBA, y int) {
	for src := m.Pix[m.PixOffset(m.Rect.Min.X, y):]; len(dst) >= 3; dst, src = dst[3:], src[4:] {
		if src[3] == 255 {
			copy(dst[:3], src)
			continue
		}
		under.blend(dst, color.RGBA{src[0], src[1], src[2], src[3]})
	}
}

func (under background) paletteTable(p color.Palette) (table [256][3]uint8) {
	for i, c := range p[:min(len(p), len(table))] {
		under.blend(table[i][:], c)
	}
	return table
}

// over writes a colour that is not multiplied by its alpha a, blended over the background.
func (under background) over(dst []uint8, r, g, b, a uint8) {
	if a == 255 {
		dst[0], dst[1], dst[2] = r, g, b
		return
	}
	for c, v := range [3]uint8{r, g, b} {
		dst[c] = uint8((uint32(v)*uint32(a) + uint32(under[c])*(255-uint32(a)) + 127) / 255)
	}
}

// blend writes any colour, blended over the background and rounded from 16 bits to 8.
func (under background) blend(dst []uint8, c color.Color) {
	if n, ok := c.(color.NRGBA); ok {
		under.over(dst, n.R, n.G, n.B, n.A)
		return
	}
	r, g, b, a := c.RGBA()
	rest := 257 * (0xffff - min(a, 0xffff))
	for c, v := range [3]uint32{r, g, b} {
		dst[c] = to8(v + uint32(under[c])*rest/0xffff)
	}
}

// to8 rounds 16 bits to 8. Colours that a file multiplied by their alpha wrongly can exceed 16 bits.
func to8(v uint32) uint8 { return uint8((min(v, 0xffff)*255 + 0x7fff) / 0xffff) }
