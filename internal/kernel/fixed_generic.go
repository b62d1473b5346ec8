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
