package loss_test

import (
	"math"
	"testing"

	"pupil/loss"
)

// TestFixed: the largest sum fits, rounding is half to even, and values travel in two words.
func TestFixed(t *testing.T) {
	for _, samples := range []int{1, 2, 3, 256, 257, 1 << 30} {
		for _, bound := range []int{0, 5} {
			f := loss.NewFixed(samples, bound)
			largest := f.Count(math.Ldexp(1, bound))
			if largest > (1<<62)/int64(samples) {
				t.Errorf("%d samples of 2^%d: one is %d units, the sum passes 2^62", samples, bound, largest)
			}
			if got := f.Value(f.Count(0.5)); got != 0.5 {
				t.Errorf("%d samples: 0.5 comes back as %v", samples, got)
			}
		}
	}
	f := loss.NewFixed(1<<22, 0) // units of 2^-40
	for _, c := range []struct {
		units float64
		want  int64
	}{{0.5, 0}, {1.5, 2}, {2.5, 2}, {-0.5, 0}, {-1.5, -2}, {0.50001, 1}} {
		if got := f.Count(c.units * 0x1p-40); got != c.want {
			t.Errorf("%v units round to %d, want %d", c.units, got, c.want)
		}
	}
	sum, want := make([]int64, 2), 0.0
	for _, v := range []float64{1.25, -3.75, 1e6 + 0.5, -0.125, 7} {
		f.AddValue(sum, v)
		want += v
	}
	if got := f.ReadValue(sum); got != want {
		t.Errorf("values add up to %v, want %v", got, want)
	}
	for _, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(1)} {
		sum := make([]int64, 2)
		f.AddValue(sum, v)
		if got := f.ReadValue(sum); math.Abs(got) < 1<<32 || math.Abs(got) > 1<<32+1 {
			t.Errorf("%v is reported as %v, want about 2^32", v, got)
		}
	}
}
