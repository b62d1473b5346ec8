package optim_test

import (
	"fmt"
	"math"
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
			o, err := optim.New(c.config, size, []optim.Group{{Len: decayed, Decay: true}, {Offset: decayed, Len: size - decayed}})
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
	if _, err := optim.New(optim.Config{Name: "adam"}, 1, nil); err == nil {
		t.Error("an unknown optimiser was accepted")
	}
	if _, err := optim.New(optim.Config{Name: "sgd"}, 4, []optim.Group{{Offset: 2, Len: 3}}); err == nil {
		t.Error("a group beyond the parameters was accepted")
	}
}

func TestSchedule(t *testing.T) {
	s := optim.Schedule{Name: "cosine", Peak: 2, Warmup: 0.1, Final: 0.5, Steps: 110}
	for step, want := range map[int]float64{0: 2.0 / 11, 10: 2, 11: 2} {
		if got := s.Rate(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("rate of step %d: %v, want %v", step, got, want)
		}
	}
	for step := 12; step < 110; step++ {
		if s.Rate(step) >= s.Rate(step-1) || s.Rate(step) < 1 {
			t.Errorf("the cosine does not fall from the peak to its final share: step %d has %v", step, s.Rate(step))
		}
	}
	if got := (optim.Schedule{Name: "constant", Peak: 3, Steps: 10}).Rate(9); got != 3 {
		t.Errorf("constant rate: %v", got)
	}
}

func Example() {
	o, _ := optim.New(optim.Config{Name: "sgd", Momentum: 0.9}, 1, []optim.Group{{Len: 1, Decay: true}})
	rate := optim.Schedule{Name: "constant", Peak: 0.1, Steps: 2}
	weight := []float32{1}
	for step := range 2 {
		gradient := []float32{weight[0]} // of w^2/2
		o.Step(weight, gradient, step, rate.Rate(step))
	}
	fmt.Printf("%.2f\n", weight[0])
	// Output: 0.72
}
