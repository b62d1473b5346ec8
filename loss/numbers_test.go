package loss_test

import (
	"math"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
)

// TestElementary compares exp and log with the standard library's, which is within one unit in the last place itself.
func TestElementary(t *testing.T) {
	s := random.New(random.PurposeTest, 11)
	for range 200000 {
		x := s.Uniform(-745, 709) * math.Pow(s.Float64(), 6)
		if got, want := loss.Exp(x), math.Exp(x); math.Abs(got-want) > 4.5e-16*want+5e-324 {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
		y := math.Exp(x)
		if y < 0x1p-1022 { // math.Log is wrong for subnormal numbers on amd64
			continue
		}
		if got, want := loss.Log(y), math.Log(y); math.Abs(got-want) > 4.5e-16*math.Abs(want) {
			t.Fatalf("log(%v) = %v, want %v", y, got, want)
		}
	}
	exact := []struct{ got, want float64 }{
		{loss.Exp(0), 1},
		{loss.Exp(math.Inf(-1)), 0},
		{loss.Exp(-800), 0},
		{loss.Exp(800), math.Inf(1)},
		{loss.Exp(math.Inf(1)), math.Inf(1)},
		{loss.Exp(-745), 5e-324},
		{loss.Log(1), 0},
		{loss.Log(2), math.Ln2},
		{loss.Log(5e-324), -744.4400719213812},
		{loss.Log(math.MaxFloat64), math.Log(math.MaxFloat64)},
	}
	for i, e := range exact {
		if math.Float64bits(e.got) != math.Float64bits(e.want) {
			t.Errorf("exact value %d is %v, want %v", i, e.got, e.want)
		}
	}
}

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
