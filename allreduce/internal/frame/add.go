package frame

import "encoding/binary"

// Add adds the little-endian integers of src to those of dst, element by element, modulo 2^32 or 2^64:
// dst[i] += src[i]. Both have the same length, a multiple of the element's size.
func Add(t DType, dst, src []byte) {
	if t == Int64 {
		add64(dst, src)
		return
	}
	add32(dst, src)
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

// PutInt32 writes v to dst, which has 4 bytes for each element.
func PutInt32(dst []byte, v []int32) {
	for i, x := range v {
		binary.LittleEndian.PutUint32(dst[i*4:], uint32(x))
	}
}

// GetInt32 reads v from src, which has 4 bytes for each element.
func GetInt32(v []int32, src []byte) {
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(src[i*4:]))
	}
}

// PutInt64 writes v to dst, which has 8 bytes for each element.
func PutInt64(dst []byte, v []int64) {
	for i, x := range v {
		binary.LittleEndian.PutUint64(dst[i*8:], uint64(x))
	}
}

// GetInt64 reads v from src, which has 8 bytes for each element.
func GetInt64(v []int64, src []byte) {
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(src[i*8:]))
	}
}
