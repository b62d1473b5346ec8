package kernel_test

import (
	"slices"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

// The borders of 24 bits, and what is beyond them.
var (
	inside  = []int32{0, 1, -1, 0x7fffff, -0x800000, 0x123456, -0x123456}
	outside = []int32{0x800000, -0x800001, 1<<31 - 1, -1 << 31, 0x1000000, -0x1000000}
)

// pick gives one of the values.
func pick(s *random.Stream, values []int32) int32 { return values[s.IntN(len(values))] }

// bytes24 are the lower 24 bits of integers, little-endian.
func bytes24(v []int32) (b []byte) {
	for _, x := range v {
		b = append(b, byte(x), byte(x>>8), byte(x>>16))
	}
	return b
}

// TestPackFixed24 holds that integers of 24 bits come back, and that one beyond is found at any place.
func TestPackFixed24(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 46)
		for n := range 70 {
			a := newArena(t)
			v := input[int32](a, n, func() float64 { return float64(pick(s, inside)) })
			packed, back := output[byte](a, 3*n), output[int32](a, n)
			if !kernel.PackFixed24(packed, v) {
				t.Errorf("%d values of 24 bits do not fit", n)
			}
			same(t, "bytes", packed, bytes24(v))
			kernel.UnpackFixed24(back, packed)
			same(t, "values", back, v)
			for _, x := range outside {
				if n == 0 {
					continue
				}
				at := s.IntN(n)
				before := v[at]
				v[at] = x
				if kernel.PackFixed24(packed, v) {
					t.Errorf("%d values, %d at %d: it is to fit 24 bits", n, x, at)
				}
				same(t, "lower bits", packed, bytes24(v))
				v[at] = before
			}
		}
	})
}

// TestAddFixed24 holds that sums are right modulo 2^24, and that one beyond is found at any place.
func TestAddFixed24(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 47)
		for n := range 70 {
			a := newArena(t)
			packed, y := output[byte](a, 3*n), output[int32](a, n)
			x, sums := make([]int32, n), make([]int32, n)
			for i := range x {
				x[i], sums[i] = pick(s, inside), pick(s, inside)
				y[i] = sums[i] - x[i] // the terms have up to 25 bits
			}
			copy(packed, bytes24(x))
			if !kernel.AddFixed24(packed, y) {
				t.Errorf("%d sums of 24 bits do not fit", n)
			}
			same(t, "sums", packed, bytes24(sums))
			for _, far := range outside {
				if n == 0 {
					continue
				}
				at := s.IntN(n)
				z, wrong := slices.Clone(y), slices.Clone(sums)
				z[at], wrong[at] = far-x[at], far
				copy(packed, bytes24(x))
				if kernel.AddFixed24(packed, z) {
					t.Errorf("%d values, a sum of %d at %d: it is to fit 24 bits", n, far, at)
				}
				same(t, "lower bits", packed, bytes24(wrong))
			}
		}
	})
}
