package optim_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"pupil/worker/optim"
)

// reference is testdata/reference.json: what PyTorch computes in float64, made by testdata/make_reference.py.
type reference struct {
	Tensors    []int
	Decay      []bool
	Initial    []float32
	Gradients  [][]float32
	Norms      []float64
	Optimizers map[string]struct {
		Name             string
		WeightDecay      float64 `json:"weight_decay"`
		Momentum         float64
		Nesterov         bool
		Betas            [2]float64
		Epsilon          float64
		TrustCoefficient float64 `json:"trust_coefficient"`
		Bound, Rate      float64
		After            [][]float64
	}
	Averages []struct {
		Decay  float64
		Warmup bool
		After  []struct{ Weights, Statistics []float64 }
	}
	Schedules map[string]struct {
		Name                string
		Peak, Warmup, Final float64
		Steps               int
		Milestones          []float64
		Gamma               float64
		PctStart            float64 `json:"pct_start"`
		DivFactor           float64 `json:"div_factor"`
		FinalDivFactor      float64 `json:"final_div_factor"`
		Rates               []float64
	}
}

func readReference(t *testing.T) *reference {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{}
	if err := json.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	if len(r.Optimizers) < 9 || len(r.Averages) < 3 || len(r.Schedules) < 9 {
		t.Fatalf("%d optimisers, %d averages, %d schedules", len(r.Optimizers), len(r.Averages), len(r.Schedules))
	}
	return r
}

func (r *reference) groups() (groups []optim.Group) {
	offset := 0
	for i, n := range r.Tensors {
		groups = append(groups, optim.Group{Offset: offset, Len: n, Decay: r.Decay[i]})
		offset += n
	}
	return groups
}

// near reports elements that differ by more than tolerance, as a share of 1 + |want|.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tolerance*(1+math.Abs(w))) {
			t.Errorf("%s, element %d: %v, want %v", what, i, got[i], w)
		}
	}
}

// Eight updates of a few float32 roundings each, of values up to 4: 8 * 4 * 2^-24 = 2e-6 at the most.
const eightUpdates = 2e-6

func TestOptimizersAgainstPyTorch(t *testing.T) {
	r := readReference(t)
	for name, c := range r.Optimizers {
		t.Run(name, func(t *testing.T) {
			params := slices.Clone(r.Initial)
			o, err := optim.New(optim.Config{
				Name: c.Name, WeightDecay: c.WeightDecay, Momentum: c.Momentum, Nesterov: c.Nesterov, Beta1: c.Betas[0],
				Beta2: c.Betas[1], Epsilon: c.Epsilon, TrustCoefficient: c.TrustCoefficient,
			}, len(params), r.groups())
			if err != nil {
				t.Fatal(err)
			}
			for step, g := range r.Gradients {
				g = slices.Clone(g)
				norm := optim.ClipNorm(g, c.Bound)
				if want := r.Norms[step]; math.Abs(norm-want) > 1e-14*want {
					t.Errorf("norm of step %d: %v, want %v", step, norm, want)
				}
				o.Step(params, g, step, c.Rate)
				near(t, "parameters", params, c.After[step], eightUpdates)
			}
		})
	}
}

func TestAverageAgainstPyTorch(t *testing.T) {
	r := readReference(t)
	for _, c := range r.Averages {
		statistics := []float32{1, 1}
		a, err := optim.NewAverage(optim.AverageConfig{Decay: c.Decay, Warmup: c.Warmup}, r.Initial, statistics)
		if err != nil {
			t.Fatal(err)
		}
		for step, values := range r.Optimizers["sgd"].After {
			params := make([]float32, len(values))
			for i, v := range values {
				params[i] = float32(v)
			}
			for i := range statistics {
				statistics[i] += 0.5 * float32(step+1)
			}
			a.Update(params, statistics, step)
			near(t, "average weights", a.Params(), c.After[step].Weights, 5e-7)
			near(t, "average statistics", a.Statistics(), c.After[step].Statistics, 5e-7)
		}
	}
}

func TestSchedulesAgainstPyTorch(t *testing.T) {
	for name, c := range readReference(t).Schedules {
		s := optim.Schedule{
			Name: c.Name, Peak: c.Peak, Warmup: c.Warmup, Steps: c.Steps, Final: c.Final, Milestones: c.Milestones,
			Gamma: c.Gamma, PctStart: c.PctStart, DivFactor: c.DivFactor, FinalDivFactor: c.FinalDivFactor,
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(c.Rates) != c.Steps {
			t.Fatalf("%s: %d rates of %d steps", name, len(c.Rates), c.Steps)
		}
		for step, want := range c.Rates {
			// PyTorch goes from each rate to the next, so its roundings add up.
			if got := s.Rate(step); !(math.Abs(got-want) <= 1e-13*c.Peak) {
				t.Errorf("%s: rate of step %d is %v, want %v", name, step, got, want)
			}
		}
	}
}
