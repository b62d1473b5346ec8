package loss_test

import (
	"fmt"
	"testing"

	"pupil/loss"
)

// shape of one lane of a batch.
type shape struct{ classes, samples int }

func prepared(posterior string, s shape) (evaluate func() *loss.Result) {
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Posterior = posterior
	lane := must(single([]loss.Config{c}, s.classes, s.samples)).Lane(0, s.samples)
	state := with(must(newPrior(c.Prior, s.classes, 1)))
	b := randomBatch(1, s.samples, s.classes)
	return func() *loss.Result { return must(lane.Evaluate(b, state, 0.1, alone)) }
}

// TestAllocations: an evaluation allocates the new state (its struct, the list of priors, and for the prior its struct, and m
// and d), and nothing else.
func TestAllocations(t *testing.T) {
	for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
		evaluate := prepared(posterior, shape{10, 32})
		if n := testing.AllocsPerRun(20, func() { evaluate() }); n > 4 {
			t.Errorf("%s: %v allocations an evaluation, want at most 4", posterior, n)
		}
	}
}

// BenchmarkSoftmax is the softmax of 64 samples and its logarithm: of logits, and of 12 groups of 8 features.
func BenchmarkSoftmax(b *testing.B) {
	for _, s := range []shape{{10, 64}, {8, 12 * 64}, {1000, 64}} {
		b.Run(fmt.Sprintf("C=%d,n=%d", s.classes, s.samples), func(b *testing.B) {
			n := s.classes * s.samples
			p, logP, f := make([]float64, n), make([]float64, n), make([]float64, n)
			for i := range f {
				f[i] = float64(i%37)/9 - 2
			}
			b.SetBytes(int64(3 * 8 * n))
			b.ReportAllocs()
			for b.Loop() {
				loss.Softmaxes(p, logP, f, s.classes, 0.5)
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	for _, s := range []shape{{10, 32}, {96, 64}, {1000, 16}} {
		for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
			b.Run(fmt.Sprintf("%s/C=%d,n=%d", posterior, s.classes, s.samples), func(b *testing.B) {
				evaluate := prepared(posterior, s)
				b.SetBytes(int64(2 * 8 * s.classes * s.samples))
				b.ReportAllocs()
				for b.Loop() {
					evaluate()
				}
			})
		}
	}
}
