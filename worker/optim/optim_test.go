package optim_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pupil/internal/random"
	"pupil/worker/optim"
)

// definition is one step of an optimiser in float64, straight from the formulas, on one element.
type definition func(p, g *float64, state []float64, step int, rate, decay float64)

func sgdDefinition(momentum float64, nesterov bool) definition {
	return func(p, g *float64, state []float64, _ int, rate, decay float64) {
		d := *g + decay**p
		state[0] = momentum*state[0] + d
		if nesterov {
			d += momentum * state[0]
		} else {
			d = state[0]
		}
		*p -= rate * d
	}
}

func adamwDefinition(b1, b2, eps float64) definition {
	return func(p, g *float64, state []float64, step int, rate, decay float64) {
		*p *= 1 - rate*decay
		state[0] = b1*state[0] + (1-b1)**g
		state[1] = b2*state[1] + (1-b2)**g**g
		t := float64(step + 1)
		m, v := state[0]/(1-math.Pow(b1, t)), state[1]/(1-math.Pow(b2, t))
		*p -= rate * m / (math.Sqrt(v) + eps)
	}
}

func TestOptimizersFollowTheirDefinitions(t *testing.T) {
	cases := map[string]struct {
		config optim.Config
		want   definition
	}{
		"sgd":      {optim.Config{Name: "sgd", WeightDecay: 0.01, Momentum: 0.9}, sgdDefinition(0.9, false)},
		"nesterov": {optim.Config{Name: "sgd", WeightDecay: 0.01, Momentum: 0.9, Nesterov: true}, sgdDefinition(0.9, true)},
		"adamw": {
			optim.Config{Name: "adamw", WeightDecay: 0.05, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8},
			adamwDefinition(0.9, 0.999, 1e-8),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			const size, decayed = 64, 40
			r := random.New(random.PurposeTest, 7)
			params, grads := make([]float32, size), make([]float32, size)
			want := make([]float64, size)
			state := make([][2]float64, size)
			for i := range params {
				params[i] = float32(r.Normal())
				want[i] = float64(params[i])
			}
			groups := []optim.Group{{Len: decayed, Decay: true}, {Offset: decayed, Len: size - decayed}}
			o, err := optim.New(c.config, size, groups)
			if err != nil {
				t.Fatal(err)
			}
			for step := range 20 {
				for i := range grads {
					grads[i] = float32(r.Normal())
					g, decay := float64(grads[i]), c.config.WeightDecay
					if i >= decayed {
						decay = 0
					}
					c.want(&want[i], &g, state[i][:], step, 0.01, decay)
				}
				o.Step(params, grads, step, 0.01)
			}
			// Twenty float32 updates, each rounded a few times: 20 * 4 * 2^-24 of the values' size, with a margin of 2.
			for i := range params {
				if diff := math.Abs(float64(params[i]) - want[i]); diff > 1e-5*(1+math.Abs(want[i])) {
					t.Errorf("element %d: %v, want %v", i, params[i], want[i])
				}
			}
		})
	}
}

func TestElementsOutsideGroupsStay(t *testing.T) {
	o, err := optim.New(optim.Config{Name: "sgd"}, 3, []optim.Group{{Offset: 1, Len: 1}})
	if err != nil {
		t.Fatal(err)
	}
	p := []float32{1, 1, 1}
	o.Step(p, []float32{1, 1, 1}, 0, 0.5)
	if p[0] != 1 || p[1] != 0.5 || p[2] != 1 {
		t.Errorf("after the step: %v", p)
	}
}

func TestNewRefuses(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		config optim.Config
		want   string
	}{
		{optim.Config{Name: "adam"}, `optimizer.name is "adam"; give one of adamw, lars, sgd`},
		{optim.Config{Name: "adamw", WeightDecay: -1}, "optimizer.weight_decay is -1"},
		{optim.Config{Name: "adamw", Beta1: 1}, "optimizer.betas[0] is 1"},
		{optim.Config{Name: "adamw", Beta2: nan}, "optimizer.betas[1] is NaN"},
		{optim.Config{Name: "adamw", Epsilon: math.Inf(1)}, "optimizer.epsilon is +Inf"},
		{optim.Config{Name: "sgd", Momentum: 1}, "optimizer.momentum is 1; give a number from 0 to below 1"},
		{optim.Config{Name: "sgd", Nesterov: true}, "optimizer.nesterov is true with momentum 0"},
		{optim.Config{Name: "lars"}, "optimizer.trust_coefficient is 0; give a number above 0"},
		{optim.Config{Name: "lars", TrustCoefficient: 1, Momentum: -1}, "optimizer.momentum is -1"},
	} {
		_, err := optim.New(c.config, 1, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: the error is %v, want one fault with %q", c.config, err, c.want)
		}
	}
	_, err := optim.New(optim.Config{Name: "lars", WeightDecay: nan, Momentum: 2}, 1, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults give %v", err)
	}
	for _, g := range []optim.Group{{Offset: 2, Len: 3}, {Offset: -1, Len: 2}, {Len: -1}, {Offset: 5}} {
		if _, err := optim.New(optim.Config{Name: "sgd"}, 4, []optim.Group{g}); err == nil {
			t.Errorf("group %+v of 4 elements was accepted", g)
		}
	}
}

// TestNames: every name that is listed is known.
func TestNames(t *testing.T) {
	for _, name := range optim.Names() {
		if _, err := optim.New(optim.Config{Name: name, TrustCoefficient: 0.001}, 0, nil); err != nil {
			t.Error(err)
		}
	}
}

func Example() {
	o, _ := optim.New(optim.Config{Name: "sgd", Momentum: 0.9}, 1, []optim.Group{{Len: 1, Decay: true}})
	rate := optim.Schedule{Name: "constant", Peak: 0.1, Steps: 2}
	weight := []float32{1}
	average, _ := optim.NewAverage(optim.AverageConfig{Decay: 0.5}, weight, nil)
	for step := range 2 {
		gradient := []float32{weight[0]} // of w^2/2
		norm := optim.ClipNorm(gradient, 10)
		o.Step(weight, gradient, step, rate.Rate(step))
		average.Update(weight, nil, step)
		fmt.Printf("gradient %.2f, weight %.2f, average %.3f\n", norm, weight[0], average.Params()[0])
	}
	// Output:
	// gradient 1.00, weight 0.90, average 0.950
	// gradient 0.90, weight 0.72, average 0.835
}
