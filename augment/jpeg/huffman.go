package jpeg

import "encoding/binary"

// lookBits is the length of the codes that are found by one look into a table.
const lookBits = 10

// endOfBlock is the run of an end of block: far more than the coefficients of a block.
const endOfBlock = 128

// huffmanTable decodes the symbols of one table (F.2.2.3).
type huffmanTable struct {
	built bool
	// look is, for the next lookBits bits, the symbol << 8 | the length of its code; 0: it is longer or there is none.
	look [1 << lookBits]uint16
	// whole is, for the next lookBits bits, a coefficient that they hold entirely: its value << 16 | the run of zeros
	// before it << 8 | the length of code and value; 0: they do not. Only of tables for AC coefficients.
	whole [1 << lookBits]int32
	// limit[n] is one more than the last code of n bits, shifted to 16 bits; 0 where there is none.
	limit   [17]int32
	offset  [17]int32 // symbols[offset[n] + code] belongs to a code of n bits
	symbols [256]uint8
}

// build fills in a table: counts[n-1] codes of n bits, in the order of the symbols (annex C).
func (t *huffmanTable) build(counts, symbols []byte, ac bool) bool {
	*t = huffmanTable{built: true}
	copy(t.symbols[:], symbols)
	code, k := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		count := int32(counts[n-1])
		t.offset[n] = k - code
		if code+count > 1<<n {
			return false
		}
		for i := range count {
			if n <= lookBits {
				first := (code + i) << (lookBits - n)
				for j := range int32(1) << (lookBits - n) {
					t.look[first+j] = uint16(t.symbols[k+i])<<8 | uint16(n)
				}
			}
		}
		code, k = code+count, k+count
		if count > 0 {
			t.limit[n] = code << (16 - n)
		}
		code <<= 1
	}
	if ac {
		t.buildWhole()
	}
	return true
}

func (t *huffmanTable) buildWhole() {
	for bits, e := range t.look {
		length, run, size := int(e&0xff), int32(e>>12), int(e>>8&15)
		switch {
		case length == 0 || length+size > lookBits:
		case size > 0:
			v := extend(int32(bits>>(lookBits-length-size))&(1<<size-1), size)
			t.whole[bits] = v<<16 | run<<8 | int32(length+size)
		case run == 0:
			t.whole[bits] = endOfBlock<<8 | int32(length)
		}
	}
}

// extend is the value of size bits (F.2.2.1, figure F.12): those below half of their range are negative.
func extend(v int32, size int) int32 {
	if v < 1<<(size-1) {
		return v - 1<<size + 1
	}
	return v
}

// bits is the scan's data as a queue of bits.
type bits struct {
	data   []byte
	pos    int
	queue  uint64 // the next bits, from the highest on; zeros after them
	n      int    // how many are in the queue
	padded int    // of those, bits that come after the end of the data or before a marker, and are 0
}

// fill makes the queue 32 bits long or longer.
func (b *bits) fill() {
	if b.n < 32 && b.pos+4 <= len(b.data) {
		v := binary.BigEndian.Uint32(b.data[b.pos:])
		if w := ^v; (w-0x01010101)&^w&0x80808080 == 0 { // no byte of v is 0xff
			b.queue |= uint64(v) << (32 - b.n)
			b.n, b.pos = b.n+32, b.pos+4
			return
		}
	}
	for b.n <= 56 {
		v := uint64(0)
		switch {
		case b.pos < len(b.data) && b.data[b.pos] != 0xff:
			v = uint64(b.data[b.pos])
			b.pos++
		case b.pos+1 < len(b.data) && b.data[b.pos+1] == 0: // 0xff, with a 0 after it to tell it from a marker
			v = 0xff
			b.pos += 2
		default:
			b.padded += 8
		}
		b.queue |= v << (56 - b.n)
		b.n += 8
	}
}

// overrun says whether bits were used that the data does not have.
func (b *bits) overrun() bool { return b.n < b.padded }

// marker ends a part of the data: it drops what is left of the last byte and moves after the marker that must follow.
func (b *bits) marker() (byte, bool) {
	if b.overrun() || b.n-b.padded >= 8 {
		return 0, false
	}
	for b.pos+1 < len(b.data) && b.data[b.pos] == 0xff && b.data[b.pos+1] == 0xff { // fill bytes
		b.pos++
	}
	if b.pos+1 >= len(b.data) || b.data[b.pos] != 0xff {
		return 0, false
	}
	m := b.data[b.pos+1]
	b.pos += 2
	b.queue, b.n, b.padded = 0, 0, 0
	return m, true
}

// slow is the symbol of a code of any length that stands first in queue, and its length; 0: there is no such code.
func (t *huffmanTable) slow(queue uint64) (symbol uint8, length int) {
	next := int32(queue >> 48)
	for n := 1; n <= 16; n++ {
		if next < t.limit[n] {
			return t.symbols[uint8(t.offset[n]+next>>(16-n))], n
		}
	}
	return 0, 0
}
