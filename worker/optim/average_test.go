package optim_test

import (
	"math"
	"slices"
	"testing"

	"pupil/worker/optim"
)

func TestAverageWarmup(t *testing.T) {
	a, err := optim.NewAverage(optim.AverageConfig{Decay: 0.25, Warmup: true}, []float32{0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Kept are 1/10, 2/11, then 0.25 = 3/12 = min(0.25, 3/12), then 0.25 < 4/13.
	want := 0.0
	for step, kept := range []float64{0.1, 2.0 / 11, 0.25, 0.25} {
		x := float64(step + 1)
		want = kept*want + (1-kept)*x
		a.Update([]float32{float32(x)}, nil, step)
		near(t, "average", a.Params(), []float64{want}, 1e-7)
	}
}

// TestAverageComesNear holds what the docstring says of rounding: how near an average comes to a value that stays.
func TestAverageComesNear(t *testing.T) {
	for _, decay := range []float64{0.9, 0.99, 0.999} {
		a, err := optim.NewAverage(optim.AverageConfig{Decay: decay}, []float32{0, 2, -1}, []float32{5})
		if err != nil {
			t.Fatal(err)
		}
		value := float32(1.1)
		for step := range 20_000 {
			a.Update([]float32{value, value, value}, []float32{value}, step)
		}
		for _, v := range append(a.Params(), a.Statistics()...) {
			if far := math.Abs(float64(v-value)) / float64(v); far > 0x1p-24/(1-decay) {
				t.Errorf("decay %v: the average of %v is %v, off by %g", decay, value, v, far)
			}
		}
	}
}

func TestAverageCopies(t *testing.T) {
	params, statistics := []float32{1, 2}, []float32{3}
	a, err := optim.NewAverage(optim.AverageConfig{Decay: 0.5}, params, statistics)
	if err != nil {
		t.Fatal(err)
	}
	params[0], statistics[0] = 9, 9
	if a.Params()[0] != 1 || a.Statistics()[0] != 3 {
		t.Errorf("the average begins at %v and %v", a.Params(), a.Statistics())
	}
}

func TestAverageMoments(t *testing.T) {
	for _, statistics := range [][]float32{nil, {3, 4}} {
		a, err := optim.NewAverage(optim.AverageConfig{Decay: 0.5}, []float32{1}, statistics)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range a.Moments() {
			if len(m.Values) == 0 { // a tensor of no elements has no place in a checkpoint
				t.Errorf("%d statistics: %s is empty", len(statistics), m.Name)
			}
			for i := range m.Values {
				m.Values[i] = 7
			}
		}
		got := slices.Concat(a.Params(), a.Statistics())
		if slices.ContainsFunc(got, func(v float32) bool { return v != 7 }) {
			t.Errorf("%d statistics: the moments do not reach all of %v", len(statistics), got)
		}
	}
}

func TestNoAverage(t *testing.T) {
	var a *optim.Average
	a.Update([]float32{1}, []float32{1}, 0)
	if a.Params() != nil || a.Statistics() != nil || a.Moments() != nil {
		t.Error("no average has values")
	}
}

func TestNewAverageRefuses(t *testing.T) {
	for _, decay := range []float64{0, 1, -0.5, 1.5, math.NaN(), math.Inf(1)} {
		if _, err := optim.NewAverage(optim.AverageConfig{Decay: decay}, nil, nil); err == nil {
			t.Errorf("decay %v was accepted", decay)
		}
	}
}
