package frame

import (
	"encoding/binary"

	"pupil/internal/kernel"
)

// A message may carry a sum of int32 as Int24: its elements in 3 bytes each, little-endian, if all are within [-2^23, 2^23 - 1].
// No bit is lost. These functions take int32s little-endian as well, as many as the others.

// packed is how many elements Narrow packs before it looks whether they fit.
const packed = 4096

// Narrow writes the int32s of src to dst in 24 bits each, and tells whether all fit. If not, what dst holds has no meaning.
func Narrow(dst, src []byte) (fits bool) {
	fits = true
	for len(src) > 0 && fits {
		n := min(len(src)/4, packed)
		if v, ok := elements[int32](src[:4*n]); ok {
			fits = kernel.PackFixed24(dst[:3*n], v)
		} else {
			for i := range n {
				fits = put24(dst[3*i:], get32(src[4*i:])) && fits
			}
		}
		dst, src = dst[3*n:], src[4*n:]
	}
	return fits
}

// AddNarrow adds the int32s of src to the 24-bit integers of dst, and tells whether all sums have 24 bits. If not, Widen makes of
// dst what it must be.
func AddNarrow(dst, src []byte) (fits bool) {
	if v, ok := elements[int32](src); ok {
		return kernel.AddFixed24(dst, v)
	}
	fits = true
	for i := range len(src) / 4 {
		fits = put24(dst[3*i:], get24(dst[3*i:])+get32(src[4*i:])) && fits
	}
	return fits
}

// Widen overwrites dst by the sums, as int32s, of which AddNarrow has left the lower 24 bits in sums. src is what was added: the
// difference had 24 bits, so that it is known.
func Widen(dst, sums, src []byte) {
	for i := range len(src) / 4 {
		x := get32(src[4*i:])
		before := (get24(sums[3*i:]) - x) << 8 >> 8
		binary.LittleEndian.PutUint32(dst[4*i:], uint32(before+x))
	}
}

// WidenTo overwrites dst by the 24-bit integers of src, as int32s.
func WidenTo(dst, src []byte) {
	if v, ok := elements[int32](dst); ok {
		kernel.UnpackFixed24(v, src)
		return
	}
	for i := range len(dst) / 4 {
		binary.LittleEndian.PutUint32(dst[4*i:], uint32(get24(src[3*i:])))
	}
}

func get32(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }

func get24(b []byte) int32 {
	return int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8
}

// put24 writes the lower 24 bits of x, and tells whether that is all of it.
func put24(b []byte, x int32) (fits bool) {
	b[0], b[1], b[2] = byte(x), byte(x>>8), byte(x>>16)
	return x<<8>>8 == x
}
