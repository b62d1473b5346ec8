package frame

import (
	"encoding/binary"
	"unsafe"
)

// element is what vectors are of.
type element interface{ int16 | int32 | int64 }

// native says that this machine keeps integers in memory as messages do, so that they are copied and added as they are.
var native = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// memory is that of v.
func memory[T element](v []T) []byte {
	var x T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(x)))
}

// Lend is v's own memory in a message's order of bytes, if this machine has that.
func Lend[T element](v []T) (b []byte, ok bool) {
	if !native {
		return nil, false
	}
	return memory(v), true
}

// both are the elements in dst and src, where this machine can use them in place.
func both[T element](dst, src []byte) (a, b []T, ok bool) {
	a, ok = elements[T](dst)
	if ok {
		b, ok = elements[T](src)
	}
	return a, b, ok
}

func elements[T element](b []byte) ([]T, bool) {
	var x T
	size := int(unsafe.Sizeof(x))
	p := unsafe.Pointer(unsafe.SliceData(b))
	if !native || uintptr(p)%uintptr(size) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), len(b)/size), true
}

// Put writes v to dst in little-endian order. dst has as many bytes as v.
func Put[T element](dst []byte, v []T) {
	if native {
		copy(dst, memory(v))
		return
	}
	size := len(memory(v[:min(1, len(v))]))
	for i, x := range v {
		for k := range size {
			dst[i*size+k] = byte(x >> (8 * k))
		}
	}
}

// Get reads v from src, which Put has written.
func Get[T element](v []T, src []byte) {
	if native {
		copy(memory(v), src)
		return
	}
	size := len(memory(v[:min(1, len(v))]))
	for i := range v {
		v[i] = 0
		for k := range size {
			v[i] |= T(src[i*size+k]) << (8 * k)
		}
	}
}
