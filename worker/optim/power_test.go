package optim_test

import (
	"math"
	"math/big"
	"testing"

	"pupil/worker/optim"
)

// exact is b^n to 600 bits.
func exact(b float64, n int) *big.Float {
	p := new(big.Float).SetPrec(600).SetInt64(1)
	x := new(big.Float).SetPrec(600).SetFloat64(b)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p.Mul(p, x)
		}
		x.Mul(x, x)
	}
	return p
}

func TestPower(t *testing.T) {
	worst, worstShare := 0.0, 0.0
	for _, b := range []float64{0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999} {
		for n := 1; n <= 200_000; n += 1 + n/50 {
			want := exact(b, n)
			if w, _ := want.Float64(); w < 0x1p-1022 {
				break
			}
			diff := new(big.Float).Sub(new(big.Float).SetPrec(600).SetFloat64(optim.Power(b, n)), want)
			absolute, _ := diff.Float64()
			relative, _ := diff.Quo(diff, want).Float64()
			absolute, relative = math.Abs(absolute), math.Abs(relative)
			if relative > float64(n)*0x1p-53 || absolute > 0x1p-54/(1-b) {
				t.Fatalf("%v^%d is off by %g, as a share by %g", b, n, absolute, relative)
			}
			worst, worstShare = max(worst, absolute), max(worstShare, relative)
		}
	}
	t.Logf("largest error %g, as a share %g", worst, worstShare)
	for _, c := range []struct {
		b    float64
		n    int
		want float64
	}{{0, 0, 1}, {0, 1, 0}, {0, 7, 0}, {1, 1 << 30, 1}, {0.5, 10, 0x1p-10}, {0.5, 1 << 20, 0}, {3, 5, 243}} {
		if got := optim.Power(c.b, c.n); got != c.want {
			t.Errorf("%v^%d is %v, want %v", c.b, c.n, got, c.want)
		}
	}
}
