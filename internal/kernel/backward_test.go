package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pupil/internal/kernel"
)

// fusedShapes are pointwise convolutions, and depthwise ones that go by bands: odd and even sizes, one row and one
// column, several rows and images at a time, more pixels than a block has.
func fusedShapes() (pointwise, depthwise []kernel.Conv) {
	for _, s := range [][5]int{
		{1, 1, 1, 1, 1}, {3, 7, 7, 16, 24}, {2, 5, 9, 5, 130}, {1, 21, 37, 24, 8}, {2, 14, 14, 96, 17}, {1, 3, 5, 40, 320},
	} {
		pointwise = append(pointwise, kernel.Conv{N: s[0], H: s[1], W: s[2], C: s[3], K: s[4], R: 1, S: 1, Stride: 1})
	}
	for _, s := range [][4]int{
		{1, 1, 1, 8},
		{2, 1, 5, 16},
		{2, 5, 1, 8},
		{3, 2, 2, 24},
		{2, 4, 4, 40},
		{2, 7, 7, 16},
		{1, 9, 12, 136},
		{1, 12, 9, 8},
		{1, 34, 33, 8},
		{1, 3, 130, 16},
		{0, 4, 4, 8},
		{1, 15, 15, 16},
		{2, 4, 7, 8},
		{1, 2, 1, 24},
		{1, 19, 19, 8},
	} {
		for stride := 1; stride <= 2; stride++ {
			depthwise = append(depthwise, kernel.Conv{
				N: s[0], H: s[1], W: s[2], C: s[3], K: s[3], R: 3, S: 3, Stride: stride, Pad: 1,
			})
		}
	}
	return pointwise, depthwise
}

// TestBackward holds that a fused backward pass gives what its parts give one after the other.
func TestBackward(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		pointwise, depthwise := fusedShapes()
		for i, g := range pointwise {
			for _, in := range []string{"no norm", "a norm", "a norm with sums"} {
				t.Run(fmt.Sprintf("%+v/%s", g, in), func(t *testing.T) {
					newBackwardCheck(t, g, false, in, normal(50, uint64(i)), &ws).run(t)
				})
			}
		}
		for i, g := range depthwise {
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				newBackwardCheck(t, g, true, "a norm with sums", normal(51, uint64(i)), &ws).run(t)
			})
		}
	})
}

// backwardCheck is a convolution between two norms.
type backwardCheck struct {
	g             kernel.Conv
	depthwise     bool
	ws            *kernel.Workspace
	before, after kernel.Norm
	x, y, w       []float32
	dz            []float32 // of the norm behind
	invStd        [2][]float32
	fused, apart  struct {
		sums, s kernel.NormGradient
		dx, dw  []float32
		dgamma  [2][]float32
		dbeta   [2][]float32
	}
	in string
}

func newBackwardCheck(
	t *testing.T, g kernel.Conv, depthwise bool, in string, next func() float64, ws *kernel.Workspace,
) *backwardCheck {
	a := newArena(t)
	oh, ow := g.Out()
	pixels, rows, taps := g.N*g.H*g.W, g.N*oh*ow, g.R*g.S*g.C
	if !depthwise {
		taps *= g.K
	}
	c := &backwardCheck{g: g, depthwise: depthwise, in: in, ws: ws}
	c.x, c.w, c.y = input[float32](a, pixels*g.C, next), input[float32](a, taps, next), input[float32](a, rows*g.K, next)
	c.dz = input[float32](a, rows*g.K, next)
	c.invStd[0] = normOf(a, c.x, g.C, kernel.ReLU6, next, &c.before, ws)
	c.invStd[1] = normOf(a, c.y, g.K, kernel.HardSwish, next, &c.after, ws)
	for _, way := range []*struct {
		sums, s kernel.NormGradient
		dx, dw  []float32
		dgamma  [2][]float32
		dbeta   [2][]float32
	}{&c.fused, &c.apart} {
		way.dx, way.dw = output[float32](a, len(c.x)), output[float32](a, taps)
		for i, n := range []int{g.C, g.K} {
			way.dgamma[i], way.dbeta[i] = output[float32](a, n), output[float32](a, n)
		}
		dz := output[float32](a, len(c.dz))
		way.sums.Gather(&c.after, c.y, c.dz, dz)
		way.sums.Finish(c.invStd[1], way.dgamma[1], way.dbeta[1])
	}
	return c
}

// normOf makes a norm of values with the statistics of these, and returns their invStd.
func normOf(
	a *arena, values []float32, c int, act kernel.Activation, next func() float64, n *kernel.Norm, ws *kernel.Workspace,
) []float32 {
	var m kernel.Moments
	rows := kernel.Conv{N: len(values) / c, H: 1, W: 1, C: c, K: c, R: 1, S: 1, Stride: 1}
	ones := input[float32](a, c, func() float64 { return 1 })
	kernel.DepthwiseForwardNorm(rows, values, nil, ones, output[float32](a, len(values)), &m, ws)
	s := newStatistics(a, 0, c)
	for i := range s.mean {
		s.invStd[i] = 1
	}
	gamma, beta := input[float32](a, c, next), input[float32](a, c, next)
	m.Norm(gamma, beta, epsilon, act, s.mean, s.invStd, s.variance, n)
	return s.invStd
}

func (c *backwardCheck) run(t *testing.T) {
	t.Helper()
	b := &kernel.Backward{After: &c.fused.sums, X: c.x, W: c.w, DX: c.fused.dx, DW: c.fused.dw}
	var in *kernel.Norm
	if c.in != "no norm" {
		in, b.In = &c.before, &c.before
	}
	sums := c.in == "a norm with sums"
	if sums {
		b.S = &c.fused.s
	}
	dy, s := make([]float32, len(c.dz)), &c.apart.s
	c.apart.sums.Apply(dy)
	switch {
	case c.depthwise:
		kernel.DepthwiseBackward(c.g, b, c.ws)
		kernel.DepthwiseBackwardWeightsNorm(c.g, c.x, in, dy, c.apart.dw, c.ws)
		kernel.DepthwiseBackwardDataNorm(c.g, dy, c.w, in, c.x, c.apart.dx, s, c.ws)
	case sums:
		kernel.ConvBackward(c.g, b, c.ws)
		kernel.ConvBackwardWeightsNorm(c.g, c.x, in, dy, c.apart.dw, c.ws)
		kernel.ConvBackwardDataNorm(c.g, dy, c.w, in, c.x, c.apart.dx, s, c.ws)
	default:
		kernel.ConvBackward(c.g, b, c.ws)
		kernel.ConvBackwardWeightsNorm(c.g, c.x, in, dy, c.apart.dw, c.ws)
		kernel.ConvBackwardData(c.g, dy, c.w, c.apart.dx, c.ws)
	}
	same(t, "dx", c.fused.dx, c.apart.dx)
	if c.depthwise { // pixels are summed in another order
		near(t, "dw", c.fused.dw, wide(c.apart.dw), 1e-6*math.Sqrt(float64(1+len(c.x)/c.g.C)))
	} else {
		same(t, "dw", c.fused.dw, c.apart.dw)
	}
	if c.g.C == c.g.K && c.g.Stride == 1 {
		c.over(t, b)
	}
	if sums {
		c.fused.s.Finish(c.invStd[0], c.fused.dgamma[0], c.fused.dbeta[0])
		c.apart.s.Finish(c.invStd[0], c.apart.dgamma[0], c.apart.dbeta[0])
		same(t, "dgamma", c.fused.dgamma[0], c.apart.dgamma[0])
		same(t, "dbeta", c.fused.dbeta[0], c.apart.dbeta[0])
	}
}

// over lets dx take the place of what the norm behind is given, and then of the gradient that it gives.
func (c *backwardCheck) over(t *testing.T, b *kernel.Backward) {
	t.Helper()
	for _, what := range []string{"z", "dz"} {
		dz, y := slices.Clone(c.dz), slices.Clone(c.y)
		var sums kernel.NormGradient
		sums.Gather(&c.after, y, dz, dz)
		sums.Finish(c.invStd[1], c.fused.dgamma[1], c.fused.dbeta[1])
		b.After, b.DX = &sums, map[string][]float32{"z": y, "dz": dz}[what]
		if c.depthwise {
			kernel.DepthwiseBackward(c.g, b, c.ws)
		} else {
			kernel.ConvBackward(c.g, b, c.ws)
		}
		same(t, "dx over "+what, b.DX, c.apart.dx)
	}
}

// TestFused holds which geometries have a fused backward pass, and that others are refused.
func TestFused(t *testing.T) {
	point := kernel.Conv{N: 1, H: 4, W: 4, C: 8, K: 8, R: 1, S: 1, Stride: 1}
	three := kernel.Conv{N: 1, H: 4, W: 4, C: 8, K: 8, R: 3, S: 3, Stride: 2, Pad: 1}
	five, odd, far := three, three, three
	five.R, five.S, five.Pad, odd.C, odd.K, far.Stride = 5, 5, 2, 9, 9, 3
	for _, test := range []struct {
		g         kernel.Conv
		depthwise bool
		want      bool
	}{{point, false, true}, {three, false, false}, {three, true, true}, {five, true, false}, {odd, true, false}, {far, true, false}} {
		if got := test.g.Fused(test.depthwise); got != test.want {
			t.Errorf("%+v, depthwise %v: %v", test.g, test.depthwise, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a 3 x 3 convolution is not refused")
		}
	}()
	kernel.ConvBackward(three, &kernel.Backward{After: &kernel.NormGradient{}}, &kernel.Workspace{})
}
