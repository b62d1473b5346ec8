package jpeg

// The chroma of half resolution is interpolated as libjpeg does it by default: each sample lies between the pixels that
// it stands for, and a pixel takes 3/4 of the nearer and 1/4 of the farther sample, in each direction. Halves are
// rounded up and down in turn. Beyond the border is the border. Planes less than 3 samples wide are repeated instead.

// row writes row y of the component, at the image's full resolution, to out [width of the image].
func (d *decoder) row(c *component, y int, out []uint8) {
	if d.v == 1 {
		near := c.line(y)
		switch {
		case d.h == 1:
			copy(out, near)
		case c.width > 2:
			across(out, near)
		default:
			repeat(out, near)
		}
		return
	}
	near := c.line(y / 2)
	far := c.line(max(0, min(y/2-1+2*(y%2), c.height-1)))
	switch {
	case d.h == 1:
		for x, v := range near[:len(out)] {
			out[x] = uint8((3*uint32(v) + uint32(far[x]) + 1 + uint32(y%2)) >> 2)
		}
	case c.width > 2:
		both(out, near, far)
	default:
		repeat(out, near)
	}
}

// line is a row of the component's plane.
func (c *component) line(y int) []uint8 { return c.pix[y*c.stride:][:c.width] }

func repeat(out, near []uint8) {
	for x := range out {
		out[x] = near[x/2]
	}
}

// across doubles a row. The image's width may be odd: then the last pixel has no partner.
func across(out, near []uint8) {
	last := uint32(near[0])
	this := last
	for i := range near {
		next := this
		if i+1 < len(near) {
			next = uint32(near[i+1])
		}
		left, right := uint8((3*this+last+1)>>2), uint8((3*this+next+2)>>2)
		if len(out) < 2 {
			if len(out) == 1 {
				out[0] = left
			}
			return
		}
		out[0], out[1] = left, right
		out, last, this = out[2:], this, next
	}
}

// both doubles a row whose other rows are doubled as well: near is the nearer and far the farther row.
func both(out, near, far []uint8) {
	far = far[:len(near)]
	this := 3*uint32(near[0]) + uint32(far[0])
	last := this
	for i := 1; i < len(near); i++ {
		next := 3*uint32(near[i]) + uint32(far[i])
		out[1] = uint8((3*this + next + 7) >> 4)
		out[0] = uint8((3*this + last + 8) >> 4)
		out, last, this = out[2:], this, next
	}
	out[0] = uint8((3*this + last + 8) >> 4)
	if len(out) > 1 {
		out[1] = uint8((4*this + 7) >> 4)
	}
}

// chroma is what Cb or Cr adds to Y, for each value, with 16 binary digits after the point where two are added.
type chroma struct{ red, blue, greenRed, greenBlue int32 }

// chromas are JFIF's 1.402, 1.772, 0.71414 and 0.34414, rounded as libjpeg rounds them.
var chromas = func() (t [256]chroma) {
	for i := range t {
		v := int32(i) - 128
		t[i] = chroma{(91881*v + 1<<15) >> 16, (116130*v + 1<<15) >> 16, -46802 * v, -22554*v + 1<<15}
	}
	return t
}()

// colour writes one row of RGB.
func colour(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	dst = dst[:3*len(luma)]
	for x, l := range luma {
		y, b, r := int32(l), &chromas[cb[x]], &chromas[cr[x]]
		out := dst[3*x:][:3]
		out[0] = cut(y + r.red)
		out[1] = cut(y + (b.greenBlue+r.greenRed)>>16)
		out[2] = cut(y + b.blue)
	}
}

func cut(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}
