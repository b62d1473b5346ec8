package frame

import (
	"encoding/binary"

	"pupil/internal/kernel"
)

// Add adds the little-endian integers of src to those of dst, element by element, modulo 2^16, 2^32 or 2^64:
// dst[i] += src[i]. Both have the same length, a multiple of the element's size. overflow tells that a sum of int16 is
// beyond 16 bits; wider sums are not looked at.
func Add(t DType, dst, src []byte) (overflow bool) {
	switch t {
	case Int16:
		if a, b, ok := both[int16](dst, src); ok {
			return kernel.AddFixed16(a, b)
		}
		return add16(dst, src)
	case Int64:
		add64(dst, src)
	default:
		if a, b, ok := both[int32](dst, src); ok {
			kernel.AddFixed32(a, b)
			return false
		}
		add32(dst, src)
	}
	return false
}

// high16 has the top bit of all four 16-bit parts.
const high16 = 1<<63 | 1<<47 | 1<<31 | 1<<15

// add16 is add32 for four elements in a word. A sum overflows when both terms have one sign and it has the other
// (Hacker's Delight, section 2-13).
func add16(dst, src []byte) bool {
	le := binary.LittleEndian
	over := uint64(0)
	for len(src) >= 16 && len(dst) >= 16 {
		a, b := le.Uint64(dst), le.Uint64(src)
		c, d := le.Uint64(dst[8:]), le.Uint64(src[8:])
		s := (a&^high16 + b&^high16) ^ ((a ^ b) & high16)
		t := (c&^high16 + d&^high16) ^ ((c ^ d) & high16)
		over |= (a^s)&(b^s) | (c^t)&(d^t)
		le.PutUint64(dst, s)
		le.PutUint64(dst[8:], t)
		dst, src = dst[16:], src[16:]
	}
	for len(src) >= 2 && len(dst) >= 2 {
		a, b := le.Uint16(dst), le.Uint16(src)
		s := a + b
		over |= uint64((a ^ s) & (b ^ s))
		le.PutUint16(dst, s)
		dst, src = dst[2:], src[2:]
	}
	return over&high16 != 0
}

func add64(dst, src []byte) {
	le := binary.LittleEndian
	for len(src) >= 8 && len(dst) >= 8 {
		le.PutUint64(dst, le.Uint64(dst)+le.Uint64(src))
		dst, src = dst[8:], src[8:]
	}
}

// high has the top bit of both 32-bit halves.
const high = 1<<63 | 1<<31

// add32 adds two elements at once in a 64-bit word. The top bits are added without carry, so that nothing runs from
// the lower element into the upper (Hacker's Delight, second edition, section 2-18).
func add32(dst, src []byte) {
	le := binary.LittleEndian
	for len(src) >= 32 && len(dst) >= 32 {
		a, b := le.Uint64(dst), le.Uint64(src)
		c, d := le.Uint64(dst[8:]), le.Uint64(src[8:])
		e, f := le.Uint64(dst[16:]), le.Uint64(src[16:])
		g, h := le.Uint64(dst[24:]), le.Uint64(src[24:])
		le.PutUint64(dst, (a&^high+b&^high)^((a^b)&high))
		le.PutUint64(dst[8:], (c&^high+d&^high)^((c^d)&high))
		le.PutUint64(dst[16:], (e&^high+f&^high)^((e^f)&high))
		le.PutUint64(dst[24:], (g&^high+h&^high)^((g^h)&high))
		dst, src = dst[32:], src[32:]
	}
	for len(src) >= 4 && len(dst) >= 4 {
		le.PutUint32(dst, le.Uint32(dst)+le.Uint32(src))
		dst, src = dst[4:], src[4:]
	}
}
