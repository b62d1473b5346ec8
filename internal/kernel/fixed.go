package kernel

import "math"

// Fixed point: an integer q stands for q * 2^exponent. Integers are added without rounding, so a sum does not depend on
// the order of what it adds (DESIGN section 3, "Sums that do not depend on their order").

// maxExponent bounds exponents so that 2^exponent and 2^-exponent are ordinary float64 numbers.
const maxExponent = 1000

func powerOfTwo(function string, exponent int) float64 {
	if exponent < -maxExponent || exponent > maxExponent {
		panic("kernel: " + function + ": the exponent is beyond +-1000")
	}
	return math.Ldexp(1, exponent)
}

// ToFixed32 overwrites dst by src in fixed point, and returns how many values saturated:
//
//	dst = clamp(round(src * 2^-exponent), -limit, limit)
//
// where round takes halves to the even neighbour. NaN becomes limit and counts as saturated. dst has the length of src,
// limit is 0 or more, exponent within +-1000.
func ToFixed32(dst []int32, src []float32, exponent int, limit int32) (saturated int) {
	checkLen("ToFixed32", "dst", len(dst), len(src))
	if limit < 0 {
		panic("kernel: ToFixed32: negative limit")
	}
	return toFixed32(dst[:len(src)], src, powerOfTwo("ToFixed32", -exponent), limit)
}

// AddFixed32 computes dst += src. A sum beyond 32 bits wraps around: limits must leave room for the number of terms.
func AddFixed32(dst, src []int32) {
	checkLen("AddFixed32", "dst", len(dst), len(src))
	addFixed32(dst[:len(src)], src)
}

// FromFixed32 overwrites dst by src * 2^exponent, rounded once. dst has the length of src.
func FromFixed32(dst []float32, src []int32, exponent int) {
	checkLen("FromFixed32", "dst", len(dst), len(src))
	fromFixed32(dst[:len(src)], src, powerOfTwo("FromFixed32", exponent))
}

// PackFixed24 writes integers as 24 bits each, little-endian, to dst, which has 3 bytes for each of src. fits tells whether all
// are within [-2^23, 2^23 - 1]; if not, dst holds their lower 24 bits.
func PackFixed24(dst []byte, src []int32) (fits bool) {
	checkLen("PackFixed24", "dst", len(dst), 3*len(src))
	return packFixed24(dst, src)
}

// AddFixed24 computes dst += src, modulo 2^24, where dst holds 24-bit integers of PackFixed24, as many as src. fits tells whether
// no sum is beyond 24 bits.
func AddFixed24(dst []byte, src []int32) (fits bool) {
	checkLen("AddFixed24", "dst", len(dst), 3*len(src))
	return addFixed24(dst, src)
}

// UnpackFixed24 overwrites dst by the integers that PackFixed24 has written to src, 3 bytes for each of dst.
func UnpackFixed24(dst []int32, src []byte) {
	checkLen("UnpackFixed24", "src", len(src), 3*len(dst))
	unpackFixed24(dst, src)
}

// ToFixed16 is ToFixed32 for 16 bits, with error feedback: what is rounded or clamped away is left for the next call
// (Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014).
//
//	v = src + before,  dst = clamp(round(v * 2^-exponent), -limit, limit),  after = v - dst * 2^exponent
//
// v is rounded to float32, and so is after, once. A src that is not finite gives an after that is not finite. dst,
// after and before have the length of src. after may be src or before.
func ToFixed16(dst []int16, after, src, before []float32, exponent int, limit int16) (saturated int) {
	checkLen("ToFixed16", "dst", len(dst), len(src))
	checkLen("ToFixed16", "after", len(after), len(src))
	checkLen("ToFixed16", "before", len(before), len(src))
	if limit < 0 {
		panic("kernel: ToFixed16: negative limit")
	}
	scale, unit := powerOfTwo("ToFixed16", -exponent), powerOfTwo("ToFixed16", exponent)
	return toFixed16(dst[:len(src)], after[:len(src)], src, before[:len(src)], scale, unit, limit)
}

// AddFixed16 computes dst += src. A sum beyond 16 bits wraps around, and overflow tells of it.
func AddFixed16(dst, src []int16) (overflow bool) {
	checkLen("AddFixed16", "dst", len(dst), len(src))
	return addFixed16(dst[:len(src)], src)
}

// FromFixed16 overwrites dst by src * 2^exponent, rounded once. dst has the length of src.
func FromFixed16(dst []float32, src []int16, exponent int) {
	checkLen("FromFixed16", "dst", len(dst), len(src))
	fromFixed16(dst[:len(src)], src, powerOfTwo("FromFixed16", exponent))
}

// ToFixed64 is ToFixed32 for 64 bits: dst = clamp(round(src * 2^-exponent), -limit, limit).
func ToFixed64(dst []int64, src []float64, exponent int, limit int64) (saturated int) {
	checkLen("ToFixed64", "dst", len(dst), len(src))
	if limit < 0 {
		panic("kernel: ToFixed64: negative limit")
	}
	scale := powerOfTwo("ToFixed64", -exponent)
	dst = dst[:len(src)]
	for i, v := range src {
		r := math.RoundToEven(v * scale)
		switch {
		case r >= -0x1p63 && r < 0x1p63 && int64(r) >= -limit && int64(r) <= limit:
			dst[i] = int64(r)
			continue
		case r < 0:
			dst[i] = -limit
		default:
			dst[i] = limit
		}
		saturated++
	}
	return saturated
}

// AddFixed64 computes dst += src. A sum beyond 64 bits wraps around: limits must leave room for the number of terms.
func AddFixed64(dst, src []int64) {
	checkLen("AddFixed64", "dst", len(dst), len(src))
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}

// FromFixed64 overwrites dst by src * 2^exponent. Only src beyond 2^53, and results too small for a normal number, are
// rounded.
func FromFixed64(dst []float64, src []int64, exponent int) {
	checkLen("FromFixed64", "dst", len(dst), len(src))
	scale := powerOfTwo("FromFixed64", exponent)
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = float64(v) * scale
	}
}
