package kernel_test

import (
	"math"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
	"pupil/internal/random/elementary"
)

// TestExps holds that powers of e have the bits of elementary.Exp: normal and subnormal ones, at the borders and beyond, and
// where the power of 2 changes.
func TestExps(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 49)
		for n := range 300 {
			a := newArena(t)
			v := input[float64](a, n, func() float64 {
				switch s.IntN(7) {
				case 0:
					return s.Uniform(-746, 710)
				case 1:
					return (float64(s.IntN(2100)-1060) + 0.5) * math.Ln2
				case 2:
					return s.Uniform(-745.2, -707)
				case 3:
					return []float64{0, math.Copysign(0, -1), -745.1332191019412, -745.1332191019413, 709.782712893384, 709.7827128933841, -0x1p1000, 0x1p1000, math.Inf(1), math.Inf(-1)}[s.IntN(10)]
				case 4:
					return math.Ldexp(s.Uniform(-1, 1), -s.IntN(60))
				default:
					return s.Uniform(-40, 0)
				}
			})
			want, dst := make([]float64, n), output[float64](a, n)
			for i, x := range v {
				want[i] = elementary.Exp(x)
			}
			kernel.Exps(dst, v)
			same(t, "powers", dst, want)
			kernel.Exps(v, v)
			same(t, "powers in place", v, want)
		}
	})
}
