package jpeg

import "sync"

// Image is a decoded file: 8 bits a value, layout [Height, Width, Channels].
type Image struct {
	Width, Height int
	Channels      int // 1 grey, 3 RGB
	Pix           []uint8
}

// decoder is the state of one file.
type decoder struct {
	bits          // of the file; before the scan only data and pos count
	width, height int
	restart       int // minimum coded units between two restart markers; 0: there are none
	h, v          int // sampling factors of the first component
	across, down  int // minimum coded units, each of 8 h x 8 v pixels
	components    []component
	memory        [3]component
	quantized     uint8 // bit i: there is a quantization table i
	quantization  [4][64]int32
	tables        [2][4]huffmanTable // DC, AC

	planes []uint8 // of all components
	rows   []uint8 // chroma of one row
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// kept bounds the planes that a decoder keeps for the next file, in bytes.
const kept = 1 << 24

// Decode returns the pixels of a file, and false when it is damaged or of another kind than those this package reads:
// image/jpeg then reads it or says what is wrong. The caller has checked the size. data is not kept. It is safe for
// concurrent use.
func Decode(data []byte) (*Image, bool) {
	if len(data) < 4 || data[0] != 0xff || data[1] != markerSOI {
		return nil, false
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.reset(data)
	defer d.reset(nil)
	if !d.header() || !d.decode() {
		return nil, false
	}
	return d.image(), true
}

func (d *decoder) reset(data []byte) {
	d.bits, d.components, d.restart, d.quantized = bits{data: data}, nil, 0, 0
	for class := range d.tables {
		for i := range d.tables[class] {
			d.tables[class][i].built = false
		}
	}
	if cap(d.planes) > kept {
		d.planes = nil
		clear(d.memory[:]) // which points into them
	}
}

// decode reads the scan into the components' planes.
func (d *decoder) decode() bool {
	total := 0
	for _, c := range d.components {
		total += c.stride * d.down * c.v * 8
	}
	if cap(d.planes) < total {
		d.planes = make([]uint8, total)
	}
	planes := d.planes[:total]
	for i := range d.components {
		c := &d.components[i]
		n := c.stride * d.down * c.v * 8
		c.pix, planes = planes[:n], planes[n:]
	}
	units := 0
	for my := range d.down {
		for mx := range d.across {
			if d.restart > 0 && units > 0 && units%d.restart == 0 && !d.restarted(units/d.restart-1) {
				return false
			}
			if !d.unit(mx, my) {
				return false
			}
			units++
		}
		if d.bits.overrun() {
			return false
		}
	}
	m, ok := d.bits.marker()
	return ok && m == markerEOI
}

// restarted goes over a restart marker; they are numbered modulo 8.
func (d *decoder) restarted(number int) bool {
	for i := range d.components {
		d.components[i].last = 0
	}
	m, ok := d.bits.marker()
	return ok && m == markerRST0+byte(number%(markerRST7-markerRST0+1))
}

// unit reads a minimum coded unit: the blocks of all components at one place.
func (d *decoder) unit(mx, my int) bool {
	var coefficients [64]int32
	for i := range d.components {
		c := &d.components[i]
		for y := range c.v {
			for x := range c.h {
				last, ok := d.block(c, &coefficients)
				if !ok {
					return false
				}
				dst := c.pix[(my*c.v+y)*8*c.stride+(mx*c.h+x)*8:]
				if last == 0 {
					flat(coefficients[0], dst, c.stride)
					coefficients[0] = 0
					continue
				}
				invert(&coefficients, dst, c.stride)
				clear(coefficients[:])
			}
		}
	}
	return true
}

// image puts the planes together.
func (d *decoder) image() *Image {
	n := len(d.components)
	m := &Image{d.width, d.height, n, make([]uint8, d.width*d.height*n)}
	if cap(d.rows) < 2*d.width {
		d.rows = make([]uint8, 2*d.width)
	}
	cb, cr := d.rows[:d.width], d.rows[d.width:2*d.width]
	for y := range d.height {
		luma := d.components[0].line(y)
		dst := m.Pix[y*d.width*n:][:d.width*n]
		if n == 1 {
			copy(dst, luma)
			continue
		}
		d.row(&d.components[1], y, cb)
		d.row(&d.components[2], y, cr)
		colour(dst, luma, cb, cr)
	}
	return m
}
