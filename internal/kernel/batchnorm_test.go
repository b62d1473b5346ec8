package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/kernel"
)

var activations = []kernel.Activation{
	kernel.Identity, kernel.ReLU, kernel.ReLU6, kernel.HardSwish, kernel.HardSigmoid,
}

// act and slope are the definitions of the activations and of their derivatives.
func act(a kernel.Activation, v float64) float64 {
	switch a {
	case kernel.ReLU:
		return max(v, 0)
	case kernel.ReLU6:
		return min(max(v, 0), 6)
	case kernel.HardSwish:
		return v * min(max(v+3, 0), 6) / 6
	case kernel.HardSigmoid:
		return min(max(v+3, 0), 6) / 6
	}
	return v
}

func slope(a kernel.Activation, v float64) float64 {
	inside := func(low, high float64) float64 {
		if v > low && v < high {
			return 1
		}
		return 0
	}
	switch a {
	case kernel.ReLU:
		return inside(0, math.Inf(1))
	case kernel.ReLU6:
		return inside(0, 6)
	case kernel.HardSwish:
		switch {
		case v < -3:
			return 0
		case v <= 3:
			return v/3 + 0.5
		}
	case kernel.HardSigmoid:
		return inside(-3, 3) / 6
	}
	return 1
}

// norm is batch norm with an activation, as it is defined, in float64.
type norm struct {
	rows, c            int
	x, gamma, beta     []float64
	act                kernel.Activation
	y, z, mean, invStd []float64
	variance           []float64 // unbiased
	dx, dgamma, dbeta  []float64
}

const epsilon = 1e-5

func (n *norm) forward() {
	n.y, n.z = make([]float64, len(n.x)), make([]float64, len(n.x))
	n.mean, n.invStd, n.variance = make([]float64, n.c), make([]float64, n.c), make([]float64, n.c)
	for c := range n.c {
		var total, squares float64
		for i := c; i < len(n.x); i += n.c {
			total += n.x[i]
		}
		m := total / float64(n.rows)
		for i := c; i < len(n.x); i += n.c {
			squares += (n.x[i] - m) * (n.x[i] - m)
		}
		n.mean[c], n.invStd[c] = m, 1/math.Sqrt(squares/float64(n.rows)+epsilon)
		if n.rows > 1 {
			n.variance[c] = squares / float64(n.rows-1)
		}
		for i := c; i < len(n.x); i += n.c {
			n.z[i] = (n.x[i]-m)*n.invStd[c]*n.gamma[c] + n.beta[c]
			n.y[i] = act(n.act, n.z[i])
		}
	}
}

// backward is the chain rule through the mean and the deviation, step by step.
func (n *norm) backward(dy []float32) {
	n.dx, n.dgamma, n.dbeta = make([]float64, len(n.x)), make([]float64, n.c), make([]float64, n.c)
	for c := range n.c {
		s := n.invStd[c]
		var dMean, dStd float64 // with respect to the mean and to 1/invStd
		for i := c; i < len(n.x); i += n.c {
			dz := float64(dy[i]) * slope(n.act, n.z[i])
			centred := n.x[i] - n.mean[c]
			n.dbeta[c] += dz
			n.dgamma[c] += dz * centred * s
			dMean -= dz * n.gamma[c] * s
			dStd -= dz * n.gamma[c] * centred * s * s
		}
		for i := c; i < len(n.x); i += n.c {
			dz := float64(dy[i]) * slope(n.act, n.z[i])
			n.dx[i] = dz*n.gamma[c]*s + (dMean+dStd*(n.x[i]-n.mean[c])*s)/float64(n.rows)
		}
	}
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i := range v {
		w[i] = float64(v[i])
	}
	return w
}

// kink tells whether an activation's input lies so close to a kink that rounding may choose its side.
func (n *norm) kink(i int) bool {
	for _, k := range []float64{-3, 0, 3, 6} {
		if math.Abs(n.z[i]-k) < 1e-4 {
			return true
		}
	}
	return false
}

func TestBatchNorm(t *testing.T) {
	each(t, func(t *testing.T) {
		for i, s := range [][2]int{
			{1, 1}, {2, 3}, {5, 7}, {3, 8}, {40, 9}, {33, 16}, {100, 129}, {16, 128}, {17, 260}, {1000, 24}, {1, 31},
		} {
			for _, a := range activations {
				rows, c := s[0], s[1]
				t.Run(fmt.Sprintf("%dx%d/%v", rows, c, a), func(t *testing.T) { checkNorm(t, rows, c, a, uint64(i)) })
			}
		}
	})
}

func checkNorm(t *testing.T, rows, c int, a kernel.Activation, seed uint64) {
	arena, next := newArena(t), normal(10, seed)
	x := input[float32](arena, rows*c, func() float64 { return 2 + 3*next() })
	dy := input[float32](arena, rows*c, next)
	gamma := input[float32](arena, c, func() float64 { return 3 * next() })
	beta := input[float32](arena, c, next)
	y, dx := output[float32](arena, rows*c), output[float32](arena, rows*c)
	mean, invStd, variance := output[float32](arena, c), output[float32](arena, c), output[float32](arena, c)
	dgamma, dbeta := output[float32](arena, c), output[float32](arena, c)

	want := norm{rows: rows, c: c, x: wide(x), gamma: wide(gamma), beta: wide(beta), act: a}
	want.forward()
	for i := range dy {
		if want.kink(i) {
			dy[i] = 0
		}
	}
	want.backward(dy)

	kernel.BatchNormForward(rows, c, x, gamma, beta, epsilon, a, y, mean, invStd, variance)
	near(t, "mean", mean, want.mean, 1e-6)
	near(t, "invStd", invStd, want.invStd, 1e-6)
	near(t, "variance", variance, want.variance, 1e-6)
	near(t, "y", y, want.y, 1e-4)
	kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, a, dx, dgamma, dbeta)
	scale := math.Sqrt(float64(rows))
	near(t, "dgamma", dgamma, want.dgamma, 2e-5*scale)
	near(t, "dbeta", dbeta, want.dbeta, 2e-5*scale)
	// For one row invStd is about 300, and dx = 0 is the difference of large numbers.
	near(t, "dx", dx, want.dx, 1e-4*float64(invStd[0]+1))
	kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, a, dy, dgamma, dbeta)
	same(t, "dx in place of dy", dy, dx)

	kernel.BatchNormForward(rows, c, x, gamma, beta, epsilon, a, x, mean, invStd, variance)
	same(t, "y in place", x, y)
}

// TestBatchNormGradient compares the backward pass with central differences of the forward pass in float64.
func TestBatchNormGradient(t *testing.T) {
	const rows, c = 6, 3
	each(t, func(t *testing.T) {
		for _, a := range activations {
			x, dy, gamma, beta := values(rows*c, 20), values(rows*c, 21), values(c, 22), values(c, 23)
			y, dx := make([]float32, rows*c), make([]float32, rows*c)
			mean, invStd, variance := make([]float32, c), make([]float32, c), make([]float32, c)
			dgamma, dbeta := make([]float32, c), make([]float32, c)
			kernel.BatchNormForward(rows, c, x, gamma, beta, epsilon, a, y, mean, invStd, variance)
			kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, a, dx, dgamma, dbeta)

			n := norm{rows: rows, c: c, x: wide(x), gamma: wide(gamma), beta: wide(beta), act: a}
			loss := func() (l float64) {
				n.forward()
				for i, v := range n.y {
					l += v * float64(dy[i])
				}
				return l
			}
			for _, p := range []struct {
				name string
				at   []float64
				got  []float32
			}{{"dx", n.x, dx}, {"dgamma", n.gamma, dgamma}, {"dbeta", n.beta, dbeta}} {
				want := make([]float64, len(p.at))
				for i, v := range p.at {
					const h = 1e-5
					p.at[i] = v + h
					up := loss()
					p.at[i] = v - h
					want[i] = (up - loss()) / (2 * h)
					p.at[i] = v
				}
				near(t, fmt.Sprint(a, " ", p.name), p.got, want, 1e-4)
			}
		}
	})
}

// TestBatchNormLargeMean holds that a mean far from 0 costs no precision of the variance, and that a constant channel
// has none.
func TestBatchNormLargeMean(t *testing.T) {
	each(t, func(t *testing.T) {
		const rows, c = 4096, 2
		next := normal(11)
		x := make([]float32, rows*c)
		for i := range rows {
			x[i*c] = float32(10000 + next())
			x[i*c+1] = 12345.678
		}
		want := norm{rows: rows, c: c, x: wide(x), gamma: []float64{1, 1}, beta: []float64{0, 0}}
		want.forward()
		y, mean, invStd, variance := make([]float32, rows*c), make([]float32, c), make([]float32, c), make([]float32, c)
		kernel.BatchNormForward(rows, c, x, []float32{1, 1}, []float32{0, 0}, epsilon, kernel.Identity, y, mean, invStd,
			variance)
		near(t, "variance", variance, want.variance, 1e-7)
		if variance[1] != 0 || y[1] != 0 {
			t.Errorf("a constant channel has the variance %v and becomes %v", variance[1], y[1])
		}
	})
}

func TestScaleShift(t *testing.T) {
	each(t, func(t *testing.T) {
		for i, s := range [][2]int{{1, 1}, {3, 7}, {20, 8}, {5, 300}, {0, 4}} {
			for _, a := range activations {
				rows, c := s[0], s[1]
				arena, next := newArena(t), normal(12, uint64(i))
				x := input[float32](arena, rows*c, func() float64 { return 3 * next() })
				scale, shift := input[float32](arena, c, next), input[float32](arena, c, next)
				y := output[float32](arena, rows*c)
				want := make([]float64, rows*c)
				for i := range want {
					want[i] = act(a, float64(x[i])*float64(scale[i%c])+float64(shift[i%c]))
				}
				kernel.ScaleShift(rows, c, x, scale, shift, a, y)
				near(t, fmt.Sprint(s, a), y, want, 1e-5)
				kernel.ScaleShift(rows, c, x, scale, shift, a, x)
				same(t, "y in place", x, y)
			}
		}
	})
}

// TestBatchNormPrecision holds that sums of many rows lose nothing: mean and variance are the float32 numbers next to the
// exact ones, but for a fifth of their distance.
func TestBatchNormPrecision(t *testing.T) {
	each(t, func(t *testing.T) {
		const rows, c = 4099, 24
		next := normal(13)
		x := make([]float32, rows*c)
		for i := range x {
			x[i] = float32(math.Ldexp(float64(i%c)-7+next(), i%c-12))
		}
		want := norm{rows: rows, c: c, x: wide(x), gamma: make([]float64, c), beta: make([]float64, c)}
		want.forward()
		y, mean, invStd, variance := make([]float32, rows*c), make([]float32, c), make([]float32, c), make([]float32, c)
		kernel.BatchNormForward(rows, c, x, make([]float32, c), make([]float32, c), epsilon, kernel.Identity, y, mean,
			invStd, variance)
		for i := range c {
			deviation := math.Sqrt(want.variance[i])
			for _, v := range [][3]float64{
				{float64(mean[i]), want.mean[i], max(math.Abs(want.mean[i]), deviation/8)},
				{float64(variance[i]), want.variance[i], want.variance[i]},
			} {
				unit := math.Abs(float64(math.Nextafter32(float32(v[2]), math.MaxFloat32) - float32(v[2])))
				if !(math.Abs(v[0]-v[1]) <= 0.7*unit) {
					t.Errorf("channel %d: %v, want %v: %.2f units in the last place", i, v[0], v[1],
						math.Abs(v[0]-v[1])/unit)
				}
			}
		}
	})
}
