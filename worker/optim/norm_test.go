package optim_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pupil/internal/random"
	"pupil/worker/optim"
)

func TestNorm(t *testing.T) {
	r := random.New(random.PurposeTest, 5)
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 1000, 1 << 16, 1<<16 + 1, 1<<17 + 3} {
		x := make([]float32, n)
		sum := new(big.Float).SetPrec(300)
		for i := range x {
			x[i] = float32(r.Normal() * math.Ldexp(1, i%40-20))
			v := new(big.Float).SetPrec(300).SetFloat64(float64(x[i]))
			sum.Add(sum, v.Mul(v, v))
		}
		want, _ := sum.Sqrt(sum).Float64()
		if got := optim.Norm(x); math.Abs(got-want) > 1e-14*want {
			t.Errorf("%d elements: %v, want %v", n, got, want)
		}
	}
}

// TestNormOrder holds the order of the sums that the docstring gives, to the bit: the weights depend on it.
func TestNormOrder(t *testing.T) {
	r := random.New(random.PurposeTest, 6)
	for range 20 {
		x := make([]float32, 70_001+r.IntN(5))
		for i := range x {
			x[i] = float32(r.Normal())
		}
		total := 0.0
		for _, part := range [][]float32{x[:1<<16], x[1<<16:]} {
			var sums [4]float64
			whole := len(part) / 4 * 4
			for i, v := range part[:whole] {
				sums[i%4] += float64(v) * float64(v)
			}
			for _, v := range part[whole:] {
				sums[0] += float64(v) * float64(v)
			}
			total += (sums[0] + sums[1]) + (sums[2] + sums[3])
		}
		if got, want := optim.Norm(x), math.Sqrt(total); got != want {
			t.Errorf("%d elements: %v, want %v", len(x), got, want)
		}
	}
}

func TestNormAtTheEnds(t *testing.T) {
	huge := slices.Repeat([]float32{math.MaxFloat32}, 1000)
	if got, want := optim.Norm(huge), math.MaxFloat32*math.Sqrt(1000); math.Abs(got-want) > 1e-14*want {
		t.Errorf("norm of the largest numbers: %v, want %v", got, want)
	}
	if got := optim.Norm([]float32{0x1p-149, 0}); got != 0x1p-149 {
		t.Errorf("norm of the smallest number: %v", got)
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for i := range 9 {
		x := make([]float32, 9)
		for _, x[i] = range []float32{inf, -inf} {
			if got := optim.Norm(x); !math.IsInf(got, 1) {
				t.Errorf("norm with %v at %d: %v", x[i], i, got)
			}
		}
		if x[i] = nan; !math.IsNaN(optim.Norm(x)) {
			t.Errorf("norm with NaN at %d: %v", i, optim.Norm(x))
		}
	}
}

func TestClipNorm(t *testing.T) {
	for _, c := range []struct {
		name            string
		bound           float64
		gradients, want []float32
		norm            float64
	}{
		{"clipped", 1, []float32{3, 0, 4}, []float32{float32(3 * (1 / 5.000001)), 0, float32(4 * (1 / 5.000001))}, 5},
		{"under the bound", 6, []float32{3, 0, 4}, []float32{3, 0, 4}, 5},
		{"off", 0, []float32{3, 0, 4}, []float32{3, 0, 4}, 5},
		{"zeros", 1, []float32{0, 0}, []float32{0, 0}, 0},
		{"no elements", 1, nil, nil, 0},
	} {
		g := slices.Clone(c.gradients)
		if norm := optim.ClipNorm(g, c.bound); norm != c.norm {
			t.Errorf("%s: the norm is %v, want %v", c.name, norm, c.norm)
		}
		for i, w := range c.want {
			if math.Abs(float64(g[i]-w)) > 1.2e-7*math.Abs(float64(w)) {
				t.Errorf("%s: %v, want %v", c.name, g, c.want)
			}
		}
	}
}

// What is not finite stays, so that the caller can say where it is.
func TestClipNormLeavesWhatIsNotFinite(t *testing.T) {
	for _, bad := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		g := []float32{1, float32(bad), 3}
		norm := optim.ClipNorm(g, 0.5)
		if !math.IsInf(norm, 1) && !math.IsNaN(norm) {
			t.Errorf("with %v the norm is %v", bad, norm)
		}
		if g[0] != 1 || g[2] != 3 || math.Float32bits(g[1]) != math.Float32bits(float32(bad)) {
			t.Errorf("with %v the gradients became %v", bad, g)
		}
	}
}
