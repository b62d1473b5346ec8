package kernel

import "math"

// toFixed32Generic computes dst = clamp(round(src * scale), -limit, limit) and counts what was clamped.
func toFixed32Generic(dst []int32, src []float32, scale float64, limit int32) (saturated int) {
	dst = dst[:len(src)]
	bound := float64(limit)
	for i, v := range src {
		r := math.RoundToEven(float64(v) * scale)
		switch {
		case r >= -bound && r <= bound:
			dst[i] = int32(r)
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

// addFixed32Generic computes dst += src.
func addFixed32Generic(dst, src []int32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}

// fromFixed32Generic computes dst = src * scale, rounded once.
func fromFixed32Generic(dst []float32, src []int32, scale float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = float32(float64(v) * scale)
	}
}

// toFixed16Generic computes dst = clamp(round((src + before) * scale), -limit, limit) and after = src + before - dst *
// unit, and counts what was clamped.
func toFixed16Generic(dst []int16, after, src, before []float32, scale, unit float64, limit int16) (saturated int) {
	dst, after, before = dst[:len(src)], after[:len(src)], before[:len(src)]
	bound := float64(limit)
	for i, v := range src {
		v += before[i]
		r := math.RoundToEven(float64(v) * scale)
		if !(r >= -bound && r <= bound) {
			saturated++
			if r < 0 {
				r = -bound
			} else {
				r = bound
			}
		}
		dst[i] = int16(r)
		after[i] = float32(float64(v) - float64(r*unit))
	}
	return saturated
}

// addFixed16Generic computes dst += src, and tells of sums beyond 16 bits. A sum overflows when both terms have one sign and
// it has the other (Warren, Hacker's Delight, section 2-13).
func addFixed16Generic(dst, src []int16) (overflow bool) {
	dst = dst[:len(src)]
	var over int16
	for i, v := range src {
		sum := dst[i] + v
		over |= (dst[i] ^ sum) & (v ^ sum)
		dst[i] = sum
	}
	return over < 0
}

// fromFixed16Generic computes dst = src * scale, rounded once.
func fromFixed16Generic(dst []float32, src []int16, scale float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = float32(float64(v) * scale)
	}
}

// packFixed24Generic writes the lower 24 bits of each value, little-endian. beyond is 0 if that is all of them.
func packFixed24Generic(dst []byte, src []int32) (beyond uint32) {
	dst = dst[:3*len(src)]
	for i, v := range src {
		d := dst[3*i : 3*i+3]
		d[0], d[1], d[2] = byte(v), byte(v>>8), byte(v>>16)
		beyond |= uint32(v) + 1<<23 // of 24 bits if v is
	}
	return beyond >> 24
}

// addFixed24Generic computes dst += src. beyond is 0 if all sums have 24 bits.
func addFixed24Generic(dst []byte, src []int32) (beyond uint32) {
	dst = dst[:3*len(src)]
	for i, v := range src {
		d := dst[3*i : 3*i+3]
		v += fixed24(d)
		d[0], d[1], d[2] = byte(v), byte(v>>8), byte(v>>16)
		beyond |= uint32(v) + 1<<23
	}
	return beyond >> 24
}

// unpackFixed24Generic overwrites dst by src.
func unpackFixed24Generic(dst []int32, src []byte) {
	src = src[:3*len(dst)]
	for i := range dst {
		dst[i] = fixed24(src[3*i : 3*i+3])
	}
}

// fixed24 is the integer of three bytes.
func fixed24(b []byte) int32 {
	return int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8
}
