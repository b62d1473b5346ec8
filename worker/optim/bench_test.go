package optim_test

import (
	"testing"

	"pupil/worker/optim"
)

// benchmarked is the number of weights: about those of mobilenet_v2.
const benchmarked = 1 << 21

func benchmarkedGroups() (groups []optim.Group) {
	for offset := 0; offset < benchmarked; offset += 1 << 15 {
		groups = append(groups, optim.Group{Offset: offset, Len: 1 << 15, Decay: true})
	}
	return groups
}

// vectors are weights and gradients that stay in a harmless range.
func vectors(n int) (params, gradients []float32) {
	params, gradients = make([]float32, n), make([]float32, n)
	for i := range params {
		params[i], gradients[i] = 1/float32(1+i%97), 1e-3/float32(1+i%89)
	}
	return params, gradients
}

// BenchmarkStep is an update of 2M weights; bytes are those of weights, gradients and moments, each counted once.
func BenchmarkStep(b *testing.B) {
	for _, name := range optim.Names() {
		b.Run(name, func(b *testing.B) {
			o, err := optim.New(optim.Config{
				Name: name, WeightDecay: 1e-4, Momentum: 0.9, TrustCoefficient: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
			}, benchmarked, benchmarkedGroups())
			if err != nil {
				b.Fatal(err)
			}
			params, gradients := vectors(benchmarked)
			b.SetBytes(int64(4 * benchmarked * (2 + len(o.Moments()))))
			step := 0
			for b.Loop() {
				o.Step(params, gradients, step, 1e-6)
				step++
			}
		})
	}
}

// BenchmarkClipNorm is what clipping 2M gradients takes when the norm is over the bound.
func BenchmarkClipNorm(b *testing.B) {
	_, gradients := vectors(benchmarked)
	bound := optim.Norm(gradients)
	b.SetBytes(4 * benchmarked)
	for b.Loop() {
		bound *= 0.999999
		optim.ClipNorm(gradients, bound)
	}
}

// BenchmarkAverage takes 2M weights into their average.
func BenchmarkAverage(b *testing.B) {
	params, other := vectors(benchmarked)
	a, err := optim.NewAverage(optim.AverageConfig{Decay: 0.999}, params, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(2 * 4 * benchmarked)
	step := 0
	for b.Loop() {
		a.Update(other, nil, step)
		step++
	}
}

// TestAllocations: a step allocates nothing.
func TestAllocations(t *testing.T) {
	for name, j := range jobs() {
		j = j.start(t)
		gradients := laneGradients(0, 0)
		step := 0
		if n := testing.AllocsPerRun(trainedSteps-2, func() { j.step(gradients, step); step++ }); n != 0 {
			t.Errorf("%s: a step makes %v allocations", name, n)
		}
	}
}
