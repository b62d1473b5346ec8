package kernel_test

import (
	"math"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
	"pupil/internal/random/elementary"
)

// TestLogs holds that logarithms have the bits of elementary.Log, near 1, near the square root of 2, and everywhere else.
func TestLogs(t *testing.T) {
	const floor, logFloor = 1e-12, -27.6310211159285482
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 48)
		for n := range 300 {
			a := newArena(t)
			v := input[float64](a, n, func() float64 {
				switch s.IntN(6) {
				case 0:
					return 1 + float64(s.IntN(9)-4)*0x1p-53
				case 1:
					return math.Ldexp(math.Sqrt2+float64(s.IntN(9)-4)*0x1p-52, s.IntN(40)-20)
				case 2:
					return floor + float64(s.IntN(9)-4)*0x1p-92
				case 3:
					return 0
				default:
					return math.Ldexp(1-s.Float64()/2, s.IntN(1060)-40)
				}
			})
			want, dst := make([]float64, n), output[float64](a, n)
			for i, x := range v {
				want[i] = logFloor
				if x >= floor {
					want[i] = elementary.Log(x)
				}
			}
			kernel.Logs(dst, v, floor, logFloor)
			same(t, "logarithms", dst, want)
			kernel.Logs(v, v, floor, logFloor)
			same(t, "logarithms in place", v, want)
		}
	})
}
