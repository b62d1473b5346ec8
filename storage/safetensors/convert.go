package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// littleEndian tells whether this machine keeps numbers as the format does, so that they can be copied as they are: a
// checkpoint holds training up for no more than that.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// memory is what v occupies.
func memory(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}

// FromFloat32 returns a tensor of type F32. Shape and values are copied; their lengths are checked by Encode.
func FromFloat32(name string, shape []int, v []float32) Tensor {
	data := make([]byte, 4*len(v))
	if littleEndian {
		copy(data, memory(v))
	} else {
		for i, x := range v {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
		}
	}
	return Tensor{Name: name, DType: F32, Shape: slices.Clone(shape), Data: data}
}

// FromFloat64 returns a tensor of type F64. Shape and values are copied; their lengths are checked by Encode.
func FromFloat64(name string, shape []int, v []float64) Tensor {
	data := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(x))
	}
	return Tensor{Name: name, DType: F64, Shape: slices.Clone(shape), Data: data}
}

// FromInt64 returns a tensor of type I64. Shape and values are copied; their lengths are checked by Encode.
func FromInt64(name string, shape []int, v []int64) Tensor {
	data := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(x))
	}
	return Tensor{Name: name, DType: I64, Shape: slices.Clone(shape), Data: data}
}

// Float32 returns a copy of the elements, row-major. F32 keeps its bits, F16 and BF16 are exact, F64 is rounded to
// nearest even. Another type is an error.
func (t Tensor) Float32() ([]float32, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	out := make([]float32, len(t.Data)/t.DType.Size())
	switch t.DType {
	case F32:
		if littleEndian {
			copy(memory(out), t.Data)
			break
		}
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case F64:
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
	case F16:
		for i := range out {
			out[i] = half(binary.LittleEndian.Uint16(t.Data[2*i:]))
		}
	case BF16:
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	default:
		return nil, fmt.Errorf("tensor %q: elements are %s, not floating point", t.Name, t.DType)
	}
	return out, nil
}

// Float64 returns a copy of the elements, row-major. The conversion of every floating-point type is exact. Another type
// is an error.
func (t Tensor) Float64() ([]float64, error) {
	if t.DType != F64 {
		v, err := t.Float32()
		if err != nil {
			return nil, err
		}
		out := make([]float64, len(v))
		for i, x := range v {
			out[i] = float64(x)
		}
		return out, nil
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	out := make([]float64, len(t.Data)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return out, nil
}

// Int64 returns a copy of the elements, row-major. It takes every integer type and BOOL (0 and 1); an element of a U64
// tensor that does not fit, and another type, are errors.
func (t Tensor) Int64() ([]int64, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	size := t.DType.Size()
	out := make([]int64, len(t.Data)/size)
	for i := range out {
		at := t.Data[size*i:]
		switch t.DType {
		case I64:
			out[i] = int64(binary.LittleEndian.Uint64(at))
		case I32:
			out[i] = int64(int32(binary.LittleEndian.Uint32(at)))
		case I16:
			out[i] = int64(int16(binary.LittleEndian.Uint16(at)))
		case I8:
			out[i] = int64(int8(at[0]))
		case U64:
			u := binary.LittleEndian.Uint64(at)
			if u > math.MaxInt64 {
				return nil, fmt.Errorf("tensor %q: element %d is %d, more than an int64 holds", t.Name, i, u)
			}
			out[i] = int64(u)
		case U32:
			out[i] = int64(binary.LittleEndian.Uint32(at))
		case U16:
			out[i] = int64(binary.LittleEndian.Uint16(at))
		case U8, Bool:
			out[i] = int64(at[0])
		default:
			return nil, fmt.Errorf("tensor %q: elements are %s, not integers", t.Name, t.DType)
		}
	}
	return out, nil
}

// half converts an IEEE 754 binary16 number; every one is a float32 too.
func half(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero and subnormal numbers: fraction * 2^-24, exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
