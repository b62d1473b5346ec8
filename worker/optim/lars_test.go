package optim_test

import (
	"math"
	"slices"
	"testing"

	"pupil/internal/random"
	"pupil/worker/optim"
)

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// larsDefinition is a step in float64, straight from algorithm 1 of the paper, with the rate outside of the velocity.
func larsDefinition(p, g, v []float64, rate, momentum, decay, trust float64, adapted bool) {
	local := 1.0
	if !adapted {
		decay = 0
	} else if norm(p) > 0 && norm(g) > 0 {
		local = trust * norm(p) / (norm(g) + decay*norm(p))
	}
	for i := range p {
		v[i] = momentum*v[i] + local*(g[i]+decay*p[i])
		p[i] -= rate * v[i]
	}
}

func TestLARSFollowsItsDefinition(t *testing.T) {
	const momentum, decay, trust, steps = 0.9, 0.01, 0.02, 20
	groups := []optim.Group{
		{Len: 50, Decay: true},
		{Offset: 50, Len: 9},
		{Offset: 59, Len: 1, Decay: true},
		{Offset: 60, Len: 33, Decay: true},
		{Offset: 93, Len: 20, Decay: true}, // starts at 0
		{Offset: 113, Len: 7, Decay: true}, // has no gradient
	}
	const size = 120
	r := random.New(random.PurposeTest, 3)
	params, grads := make([]float32, size), make([]float32, size)
	want, velocity := make([]float64, size), make([]float64, size)
	for i := range params {
		if i < 93 || i >= 113 {
			params[i] = float32(r.Normal())
		}
		want[i] = float64(params[i])
	}
	o, err := optim.New(optim.Config{
		Name: optim.LARS, Momentum: momentum, WeightDecay: decay, TrustCoefficient: trust,
	}, size, groups)
	if err != nil {
		t.Fatal(err)
	}
	for step := range steps {
		g := make([]float64, size)
		for i := range g[:113] {
			grads[i] = float32(r.Normal() * math.Ldexp(1, i/20))
			g[i] = float64(grads[i])
		}
		rate := 0.1 * float64(step+1)
		for _, group := range groups {
			a, b := group.Offset, group.Offset+group.Len
			larsDefinition(want[a:b], g[a:b], velocity[a:b], rate, momentum, decay, trust, group.Decay)
		}
		o.Step(params, grads, step, rate)
	}
	// Twenty float32 updates of a few roundings each; the group that is not adapted moves by up to about 100.
	near(t, "parameters", params, want, 1e-5)
	for _, m := range o.Moments() {
		near(t, m.Name, m.Values, velocity, 1e-5)
	}
}

// TestLARSByHand: |p| = 5 and |g| = 10, so the ratio is 0.1 * 5 / (10 + 0.5 * 5) = 0.04 and
// g + decay p = (7.5, 10); the bias moves by rate * g.
func TestLARSByHand(t *testing.T) {
	o, err := optim.New(optim.Config{
		Name: optim.LARS, Momentum: 0.5, WeightDecay: 0.5, TrustCoefficient: 0.1,
	}, 3, []optim.Group{{Len: 2, Decay: true}, {Offset: 2, Len: 1}})
	if err != nil {
		t.Fatal(err)
	}
	params := []float32{3, 4, 1}
	o.Step(params, []float32{6, 8, 1}, 0, 2)
	near(t, "velocity", o.Moments()[0].Values, []float64{0.3, 0.4, 1}, 1e-7)
	near(t, "parameters", params, []float64{2.4, 3.2, -1}, 1e-7)

	// Now |p| = 4, and without a gradient the ratio is 1: v = 0.5 * (0.3, 0.4) + 0.5 * (2.4, 3.2).
	o.Step(params, []float32{0, 0, 0}, 1, 2)
	near(t, "velocity", o.Moments()[0].Values, []float64{1.35, 1.8, 0.5}, 1e-7)
	near(t, "parameters", params, []float64{-0.3, -0.4, -2}, 1e-6)
}

// TestLARSIsScaleFree: without decay, scaling a tensor's gradient changes nothing; powers of two keep every bit.
func TestLARSIsScaleFree(t *testing.T) {
	config := optim.Config{Name: optim.LARS, Momentum: 0.9, TrustCoefficient: 0.001}
	run := func(scale float32) []float32 {
		o, err := optim.New(config, 4, []optim.Group{{Len: 4, Decay: true}})
		if err != nil {
			t.Fatal(err)
		}
		p := []float32{1, -2, 3, 0.5}
		for step := range 3 {
			o.Step(p, []float32{0.3 * scale, 0.1 * scale, -0.7 * scale, scale}, step, 1)
		}
		return p
	}
	want := run(1)
	if slices.Equal(want, []float32{1, -2, 3, 0.5}) {
		t.Fatal("nothing moved")
	}
	for _, scale := range []float32{0x1p-60, 0x1p60} {
		if got := run(scale); !slices.Equal(got, want) {
			t.Errorf("gradients times %g give %v, want %v", scale, got, want)
		}
	}
}

// A gradient of subnormal numbers has a ratio beyond float32.
func TestLARSStaysFinite(t *testing.T) {
	o, err := optim.New(optim.Config{Name: optim.LARS, TrustCoefficient: 1}, 1, []optim.Group{{Len: 1, Decay: true}})
	if err != nil {
		t.Fatal(err)
	}
	p := []float32{1}
	if o.Step(p, []float32{0x1p-149}, 0, 1); !(p[0] >= 0 && p[0] <= 1) {
		t.Errorf("the weight is %v", p[0])
	}
}
