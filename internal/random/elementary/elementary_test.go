package elementary_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/random"
	"pupil/internal/random/elementary"
)

// ulps is the distance of two numbers in units of the last place of b.
func ulps(a, b float64) float64 {
	if a == b || math.IsNaN(a) && math.IsNaN(b) {
		return 0
	}
	return math.Abs(a-b) / (math.Nextafter(math.Abs(b), math.Inf(1)) - math.Abs(b))
}

func TestAgainstMath(t *testing.T) {
	s := random.New(random.PurposeTest, 1)
	for range 100_000 {
		x := s.Uniform(-700, 700)
		if got, want := elementary.Exp(x), math.Exp(x); ulps(got, want) > 2 {
			t.Fatalf("exp(%g) = %g, want %g", x, got, want)
		}
		y := math.Exp(x)
		if got, want := elementary.Log(y), math.Log(y); ulps(got, want) > 2 {
			t.Fatalf("log(%g) = %g, want %g", y, got, want)
		}
		y = s.Float64()
		if got, want := elementary.Log(y), math.Log(y); ulps(got, want) > 2 {
			t.Fatalf("log(%g) = %g, want %g", y, got, want)
		}
		for _, angle := range []float64{s.Uniform(-7, 7), s.Uniform(-1e6, 1e6)} {
			sin, cos := elementary.SinCos(angle)
			wantSin, wantCos := math.Sincos(angle)
			// Near a zero the absolute error counts: math's own reduction ends there.
			if math.Abs(sin-wantSin) > 3e-16 || math.Abs(cos-wantCos) > 3e-16 {
				t.Fatalf("sincos(%g) = %g, %g, want %g, %g", angle, sin, cos, wantSin, wantCos)
			}
		}
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"log 1", elementary.Log(1), 0},
		{"log 0", elementary.Log(0), -inf},
		{"log -1", elementary.Log(-1), nan},
		{"log inf", elementary.Log(inf), inf},
		{"log nan", elementary.Log(nan), nan},
		{"log smallest", elementary.Log(5e-324), -744.4400719213812},
		{"exp 0", elementary.Exp(0), 1},
		{"exp -inf", elementary.Exp(-inf), 0},
		{"exp inf", elementary.Exp(inf), inf},
		{"exp nan", elementary.Exp(nan), nan},
		{"exp 710", elementary.Exp(710), inf},
		{"exp -745", elementary.Exp(-745), 5e-324},
		{"exp -746.5", elementary.Exp(-746.5), 0},
	} {
		if ulps(c.got, c.want) != 0 {
			t.Errorf("%s = %g, want %g", c.name, c.got, c.want)
		}
	}
	for _, x := range []float64{nan, inf, -inf, 1 << 20} {
		if s, c := elementary.SinCos(x); !math.IsNaN(s) || !math.IsNaN(c) {
			t.Errorf("sincos(%g) = %g, %g", x, s, c)
		}
	}
	if s, c := elementary.SinCos(0); s != 0 || c != 1 {
		t.Errorf("sincos(0) = %g, %g", s, c)
	}
}

// The bits of many results, so that an architecture that rounds otherwise is seen.
func TestGoldenBits(t *testing.T) {
	s := random.New(random.PurposeTest, 2)
	var hash uint64
	mix := func(v float64) { hash = (hash ^ math.Float64bits(v)) * 0x9e3779b97f4a7c15; hash ^= hash >> 29 }
	for range 20_000 {
		mix(elementary.Exp(s.Uniform(-20, 20)))
		mix(elementary.Log(s.Uniform(1e-6, 20)))
		sin, cos := elementary.SinCos(s.Uniform(-50, 50))
		mix(sin)
		mix(cos)
	}
	const want = 0x706ffbfa28bd8e09
	if hash != want {
		t.Errorf("the hash of the results is %#x, want %#x", hash, uint64(want))
	}
}

func Example() {
	sin, cos := elementary.SinCos(math.Pi / 6)
	fmt.Printf("%.6f %.6f %.6f %.6f\n", sin, cos, elementary.Exp(1), elementary.Log(10))
	// Output: 0.500000 0.866025 2.718282 2.302585
}

// TestExpAndLog compares with the standard library's, which is within one unit in the last place itself.
func TestExpAndLog(t *testing.T) {
	s := random.New(random.PurposeTest, 11)
	for range 200000 {
		x := s.Uniform(-745, 709) * math.Pow(s.Float64(), 6)
		if got, want := elementary.Exp(x), math.Exp(x); math.Abs(got-want) > 4.5e-16*want+5e-324 {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
		y := math.Exp(x)
		if y < 0x1p-1022 { // math.Log is wrong for subnormal numbers on amd64
			continue
		}
		if got, want := elementary.Log(y), math.Log(y); math.Abs(got-want) > 4.5e-16*math.Abs(want) {
			t.Fatalf("log(%v) = %v, want %v", y, got, want)
		}
	}
	exact := []struct{ got, want float64 }{
		{elementary.Exp(0), 1},
		{elementary.Exp(math.Inf(-1)), 0},
		{elementary.Exp(-800), 0},
		{elementary.Exp(800), math.Inf(1)},
		{elementary.Exp(math.Inf(1)), math.Inf(1)},
		{elementary.Exp(-745), 5e-324},
		{elementary.Log(1), 0},
		{elementary.Log(2), math.Ln2},
		{elementary.Log(5e-324), -744.4400719213812},
		{elementary.Log(math.MaxFloat64), math.Log(math.MaxFloat64)},
	}
	for i, e := range exact {
		if math.Float64bits(e.got) != math.Float64bits(e.want) {
			t.Errorf("exact value %d is %v, want %v", i, e.got, e.want)
		}
	}
}
