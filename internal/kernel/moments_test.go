package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/kernel"
)

// statistics is what batch norm gives beside its output.
type statistics struct{ y, mean, invStd, variance []float32 }

func newStatistics(a *arena, rows, c int) statistics {
	return statistics{
		output[float32](a, rows*c), output[float32](a, c), output[float32](a, c), output[float32](a, c),
	}
}

// TestNorm holds that a batch norm whose sums the convolution gathered is that of its output, and that a convolution
// which applies a norm as it reads is the convolution of the norm's output, with the same weight gradient.
func TestNorm(t *testing.T) {
	each(t, func(t *testing.T) {
		var f fusion
		list := append(shapes(),
			kernel.Conv{N: 3, H: 40, W: 41, C: 5, K: 130, R: 1, S: 1, Stride: 1},
			kernel.Conv{N: 2, H: 33, W: 35, C: 17, K: 260, R: 1, S: 1, Stride: 1},
			kernel.Conv{N: 1, H: 3, W: 5, C: 260, K: 1100, R: 1, S: 1, Stride: 1},
		)
		for i, g := range list {
			for _, depthwise := range []bool{false, true} {
				if depthwise {
					g.K = g.C
				}
				t.Run(fmt.Sprintf("%+v/%v", g, depthwise), func(t *testing.T) {
					f.check(t, g, depthwise, normal(40, uint64(i)))
				})
			}
		}
	})
}

// fusion keeps its memory from one geometry to the next.
type fusion struct {
	ws   kernel.Workspace
	m    kernel.Moments
	norm kernel.Norm
}

func (f *fusion) check(t *testing.T, g kernel.Conv, depthwise bool, next func() float64) {
	a := newArena(t)
	oh, ow := g.Out()
	pixels, rows := g.N*g.H*g.W, g.N*oh*ow
	taps := g.R * g.S * g.C
	if !depthwise {
		taps *= g.K
	}
	before := input[float32](a, pixels*g.C, next)
	w, dy := input[float32](a, taps, next), input[float32](a, rows*g.K, next)
	ones := input[float32](a, g.C, func() float64 { return 1 })
	gamma, beta := input[float32](a, max(g.C, g.K), next), input[float32](a, max(g.C, g.K), next)

	// The norm of a convolution with ones, whose output is its input.
	identity := kernel.Conv{N: g.N, H: g.H, W: g.W, C: g.C, K: g.C, R: 1, S: 1, Stride: 1}
	z := output[float32](a, pixels*g.C)
	kernel.DepthwiseForwardNorm(identity, before, nil, ones, z, &f.m, &f.ws)
	same(t, "a copy", z, before)
	want := newStatistics(a, pixels, g.C)
	kernel.BatchNormForward(pixels, g.C, z, gamma, beta, epsilon, kernel.ReLU6, want.y, want.mean, want.invStd,
		want.variance)
	f.compare(t, a, z, gamma, beta, kernel.ReLU6, want, true)

	y, dw := output[float32](a, len(dy)), output[float32](a, len(w))
	wantY, wantW := output[float32](a, len(dy)), output[float32](a, len(w))
	if depthwise {
		kernel.DepthwiseForward(g, want.y, w, wantY, &f.ws)
		kernel.DepthwiseBackwardWeights(g, want.y, dy, wantW, &f.ws)
		kernel.DepthwiseBackwardWeightsNorm(g, z, &f.norm, dy, dw, &f.ws)
		kernel.DepthwiseForwardNorm(g, z, &f.norm, w, y, &f.m, &f.ws)
	} else {
		kernel.ConvForward(g, want.y, w, wantY, &f.ws)
		kernel.ConvBackwardWeights(g, want.y, dy, wantW, &f.ws)
		kernel.ConvBackwardWeightsNorm(g, z, &f.norm, dy, dw, &f.ws)
		kernel.ConvForwardNorm(g, z, &f.norm, w, y, &f.m, &f.ws)
	}
	same(t, "the convolution", y, wantY)
	same(t, "dw", dw, wantW)
	f.backward(t, a, g, depthwise, z, gamma, beta, want, w, dy)
	if rows > 0 {
		want = newStatistics(a, rows, g.K)
		kernel.BatchNormForward(rows, g.K, y, gamma, beta, epsilon, kernel.HardSwish, want.y, want.mean, want.invStd,
			want.variance)
		f.compare(t, a, y, gamma, beta, kernel.HardSwish, want, depthwise)
	}
}

// backward compares the gradient of a norm whose sums the convolution behind it gathered.
func (f *fusion) backward(
	t *testing.T, a *arena, g kernel.Conv, depthwise bool, z, gamma, beta []float32, norm statistics, w, dy []float32,
) {
	t.Helper()
	pixels := g.N * g.H * g.W
	var s kernel.NormGradient
	dx, dz := output[float32](a, len(z)), output[float32](a, len(z))
	var sums [4][]float32
	for i := range sums {
		sums[i] = output[float32](a, g.C)
	}
	if depthwise {
		kernel.DepthwiseBackwardData(g, dy, w, dx, &f.ws)
		kernel.DepthwiseBackwardDataNorm(g, dy, w, &f.norm, z, dz, &s, &f.ws)
	} else {
		kernel.ConvBackwardData(g, dy, w, dx, &f.ws)
		kernel.ConvBackwardDataNorm(g, dy, w, &f.norm, z, dz, &s, &f.ws)
	}
	if pixels == 0 {
		return
	}
	scale := 1.0
	for _, v := range dx {
		scale = max(scale, math.Abs(float64(v)))
	}
	kernel.BatchNormBackward(pixels, g.C, z, dx, gamma, beta, norm.mean, norm.invStd, kernel.ReLU6, dx, sums[0], sums[1])
	apart := output[float32](a, len(z))
	kernel.BatchNormBackwardGathered(&s, norm.invStd, apart, sums[2], sums[3])
	kernel.BatchNormBackwardGathered(&s, norm.invStd, dz, sums[2], sums[3])
	same(t, "dx in place of dz", dz, apart)
	if depthwise {
		same(t, "dx", dz, dx)
		same(t, "dgamma", sums[2], sums[0])
		same(t, "dbeta", sums[3], sums[1])
		return
	}
	tolerance := 1e-6 * scale * math.Sqrt(float64(pixels))
	near(t, "dgamma", sums[2], wide(sums[0]), tolerance)
	near(t, "dbeta", sums[3], wide(sums[1]), tolerance)
	deviation := 1.0
	for i, v := range norm.invStd {
		deviation = max(deviation, math.Abs(float64(v)*float64(gamma[i])))
	}
	near(t, "dx", dz, wide(dx), 2e-6*scale*deviation)
}

// compare takes the norm of z from the moments and compares it with what it should be.
func (f *fusion) compare(
	t *testing.T, a *arena, z, gamma, beta []float32, act kernel.Activation, want statistics, exact bool,
) {
	t.Helper()
	if len(z) == 0 {
		f.m.Norm(gamma, beta, epsilon, act, want.mean, want.invStd, want.variance, &f.norm)
		return
	}
	got := newStatistics(a, len(z)/len(want.mean), len(want.mean))
	for range 2 { // the moments stay as they are
		f.m.Norm(gamma, beta, epsilon, act, got.mean, got.invStd, got.variance, &f.norm)
	}
	f.norm.Apply(z, got.y)
	got.compare(t, want, exact)
}

// compare holds that statistics are the same bit for bit, or but for the last bits of sums in another order.
func (s statistics) compare(t *testing.T, want statistics, exact bool) {
	t.Helper()
	for _, v := range []struct {
		name      string
		got, want []float32
	}{
		{"mean", s.mean, want.mean},
		{"invStd", s.invStd, want.invStd},
		{"variance", s.variance, want.variance},
		{"y", s.y, want.y},
	} {
		if exact {
			same(t, v.name, v.got, v.want)
			continue
		}
		tolerance := 1e-6
		if v.name == "y" { // a channel of one value a thousand times more or less is scaled by up to 300
			tolerance = 2e-5
		}
		near(t, v.name, v.got, wide(v.want), tolerance)
	}
	for i, v := range s.y {
		if math.IsNaN(float64(v)) {
			t.Fatalf("y[%d] is not a number", i)
		}
	}
}

// TestFar holds the same of a depthwise convolution's output that is too large for the caches.
func TestFar(t *testing.T) {
	each(t, func(t *testing.T) {
		var f fusion
		g := kernel.Conv{N: 2, H: 128, W: 192, C: 64, K: 64, R: 3, S: 3, Stride: 1, Pad: 1}
		rows := g.N * g.H * g.W
		next := normal(41, 0)
		draw := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(next())
			}
			return v
		}
		x, w, gamma, beta := draw(1<<12), draw(9*g.C), draw(g.C), draw(g.C)
		for len(x) < rows*g.C {
			x = append(x, x...)
		}
		x = x[:rows*g.C]
		identity := kernel.Conv{N: g.N, H: g.H, W: g.W, C: g.C, K: g.C, R: 1, S: 1, Stride: 1}
		ones := make([]float32, g.C)
		for i := range ones {
			ones[i] = 1
		}
		got, want := make([]float32, len(x)+2), make([]float32, len(x))
		var s [2][3][]float32
		for i := range s {
			for j := range s[i] {
				s[i][j] = make([]float32, g.C)
			}
		}
		kernel.DepthwiseForwardNorm(identity, x, nil, ones, want, &f.m, &f.ws)
		f.m.Norm(gamma, beta, epsilon, kernel.ReLU6, s[0][0], s[0][1], s[0][2], &f.norm)
		z := make([]float32, len(x))
		f.norm.Apply(x, z)
		kernel.DepthwiseForward(g, z, w, want, &f.ws)
		kernel.BatchNormForward(rows, g.C, want, gamma, beta, epsilon, kernel.Identity, z, s[0][0], s[0][1], s[0][2])
		var after kernel.Norm
		for _, y := range [][]float32{got[:len(x)], got[1:][:len(x)]} { // one of them begins at an odd place
			kernel.DepthwiseForwardNorm(g, x, &f.norm, w, y, &f.m, &f.ws)
			same(t, "the convolution", y, want)
			f.m.Norm(gamma, beta, epsilon, kernel.Identity, s[1][0], s[1][1], s[1][2], &after)
			for j, name := range []string{"mean", "invStd", "variance"} {
				same(t, name, s[1][j], s[0][j])
			}
		}
	})
}
