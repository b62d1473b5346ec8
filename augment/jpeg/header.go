package jpeg

import "encoding/binary"

// Markers of T.81, table B.1, as the byte after 0xff.
const (
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerDHT   = 0xc4
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP14 = 0xee
)

// component is one of grey, or of Y, Cb and Cr.
type component struct {
	id            byte
	h, v          int           // sampling factors
	quantization  *[64]int32    // in zigzag order
	dc, ac        *huffmanTable // of the scan
	last          int32         // the DC coefficient of the block before
	width, height int           // in samples that belong to the image
	stride        int           // of pix
	pix           []uint8       // [blocks below each other * 8, stride]
}

// header reads the segments up to the scan's data. It says whether Decode can read the file.
func (d *decoder) header() bool {
	d.pos = 2
	for {
		marker, segment, ok := d.segment()
		if !ok {
			return false
		}
		switch {
		case marker == markerSOF0 || marker == markerSOF1:
			ok = d.frame(segment)
		case marker == markerDHT:
			ok = d.huffman(segment)
		case marker == markerDQT:
			ok = d.quantizations(segment)
		case marker == markerDRI:
			if ok = len(segment) == 2; ok {
				d.restart = int(binary.BigEndian.Uint16(segment))
			}
		case marker == markerAPP14 && len(segment) >= 12 && string(segment[:5]) == "Adobe":
			ok = segment[11] == 1 // YCbCr
		case marker == markerSOS:
			return d.scan(segment)
		default: // application data and comments
			ok = marker >= 0xe0 && marker <= 0xef || marker == 0xfe
		}
		if !ok {
			return false
		}
	}
}

// segment returns the next marker and what follows its length.
func (d *decoder) segment() (marker byte, segment []byte, ok bool) {
	data := d.data[d.pos:]
	for len(data) >= 2 && data[0] == 0xff && data[1] == 0xff { // fill bytes
		data = data[1:]
	}
	if len(data) < 4 || data[0] != 0xff {
		return 0, nil, false
	}
	n := int(binary.BigEndian.Uint16(data[2:]))
	if n < 2 || n+2 > len(data) {
		return 0, nil, false
	}
	d.pos = len(d.data) - len(data) + 2 + n
	return data[1], data[4 : 2+n], true
}

// frame reads a frame header (B.2.2).
func (d *decoder) frame(s []byte) bool {
	if len(d.components) > 0 || len(s) < 6 || s[0] != 8 {
		return false
	}
	d.height, d.width = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	n := int(s[5])
	if d.width == 0 || d.height == 0 || n != 1 && n != 3 || len(s) != 6+3*n {
		return false
	}
	d.components = d.memory[:n]
	for i := range d.components {
		p := s[6+3*i:]
		if p[2] > 3 {
			return false
		}
		d.components[i] = component{id: p[0], h: int(p[1] >> 4), v: int(p[1] & 15), quantization: &d.quantization[p[2]]}
	}
	return d.sampling()
}

// sampling checks the sampling factors and lays out the planes. A scan of one component is not interleaved, whatever
// its factors are (A.2.2).
func (d *decoder) sampling() bool {
	c := d.components
	if len(c) == 1 {
		c[0].h, c[0].v = 1, 1
	}
	d.h, d.v = c[0].h, c[0].v
	if d.h < 1 || d.h > 2 || d.v < 1 || d.v > 2 {
		return false
	}
	if len(c) == 3 {
		if c[1].h != 1 || c[1].v != 1 || c[2].h != 1 || c[2].v != 1 || string([]byte{c[0].id, c[1].id, c[2].id}) == "RGB" {
			return false
		}
	}
	d.across, d.down = (d.width+8*d.h-1)/(8*d.h), (d.height+8*d.v-1)/(8*d.v)
	for i := range c {
		c[i].width = (d.width*c[i].h + d.h - 1) / d.h
		c[i].height = (d.height*c[i].v + d.v - 1) / d.v
		c[i].stride = d.across * c[i].h * 8
	}
	return true
}

// quantizations reads tables of 8 or 16 bits (B.2.4.1).
func (d *decoder) quantizations(s []byte) bool {
	for len(s) > 0 {
		wide, id := s[0]>>4, s[0]&15
		n := 64 * (1 + int(wide))
		if wide > 1 || id > 3 || len(s) < 1+n {
			return false
		}
		for i := range d.quantization[id] {
			if wide == 1 {
				d.quantization[id][i] = int32(binary.BigEndian.Uint16(s[1+2*i:]))
			} else {
				d.quantization[id][i] = int32(s[1+i])
			}
		}
		d.quantized |= 1 << id
		s = s[1+n:]
	}
	return true
}

// huffman reads Huffman tables (B.2.4.2).
func (d *decoder) huffman(s []byte) bool {
	for len(s) > 0 {
		if len(s) < 17 || s[0]>>4 > 1 || s[0]&15 > 3 {
			return false
		}
		n := 0
		for _, count := range s[1:17] {
			n += int(count)
		}
		if n > 256 || len(s) < 17+n {
			return false
		}
		class, id := s[0]>>4, s[0]&15
		if !d.tables[class][id].build(s[1:17], s[17:17+n], class == 1) {
			return false
		}
		s = s[17+n:]
	}
	return true
}

// scan reads a scan header (B.2.3): all components, all coefficients.
func (d *decoder) scan(s []byte) bool {
	n := len(d.components)
	if n == 0 || len(s) != 4+2*n || int(s[0]) != n || s[1+2*n] != 0 || s[2+2*n] != 63 || s[3+2*n] != 0 {
		return false
	}
	for i := range d.components {
		c, p := &d.components[i], s[1+2*i:]
		if p[0] != c.id || p[1]>>4 > 3 || p[1]&15 > 3 {
			return false
		}
		c.dc, c.ac = &d.tables[0][p[1]>>4], &d.tables[1][p[1]&15]
		if !c.dc.built || !c.ac.built {
			return false
		}
	}
	for i := range d.components {
		for id := range d.quantization {
			if d.components[i].quantization == &d.quantization[id] && d.quantized&(1<<id) == 0 {
				return false
			}
		}
	}
	return true
}
