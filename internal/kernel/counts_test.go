package kernel_test

import (
	"math"
	"math/big"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

// TestAddRounded compares with exact products, rounded by math/big: of all magnitudes, and halves between integers.
func TestAddRounded(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 47)
		for n := range 300 {
			a := newArena(t)
			w := math.Ldexp(1-s.Float64(), -s.IntN(20)) * float64(1-2*s.IntN(2))
			halves := n%3 == 0
			if halves {
				w = 0.5
			}
			v := input[float64](a, n, func() float64 {
				x := math.Ldexp(2*s.Float64()-1, s.IntN(63))
				if halves {
					x = math.RoundToEven(x)
				}
				return x
			})
			if n > 2 {
				v[0], v[1], v[2] = 0, -0x1p62/max(1, math.Abs(w)), 0x1p62
			}
			sums := input[int64](a, n, func() float64 { return float64(int64(s.Uint32()) << 20) })
			want := make([]int64, n)
			for i, x := range v {
				want[i] = sums[i] + rounded(w*x)
			}
			kernel.AddRounded(sums, w, v)
			same(t, "sums", sums, want)
		}
	})
}

// rounded is x as an integer, halves to the even neighbour.
func rounded(x float64) int64 {
	floor := new(big.Float).SetFloat64(math.Floor(x))
	i, _ := floor.Int64()
	switch rest := x - math.Floor(x); {
	case rest > 0.5, rest == 0.5 && i%2 != 0:
		return i + 1
	}
	return i
}
