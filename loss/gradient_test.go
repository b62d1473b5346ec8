package loss_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pupil/loss"
)

// TestCentralDifferences checks dLoss/dStudent, dLoss/dm and dLoss/dd of random losses. The prior is held: the gradient
// takes it as given.
func TestCentralDifferences(t *testing.T) {
	const h = 1e-5
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			sc := draw(seed + 1000)
			for i := range sc.job.Terms {
				sc.job.Terms[i].Prior.Update = loss.UpdateNone
			}
			lane := sc.loss().Lane(0, sc.samples)
			value := func() float64 { return must(lane.Evaluate(sc.batch, sc.state, sc.progress, alone)).Loss }
			slope := func(x []float64) []float64 {
				out := make([]float64, len(x))
				for i, v := range x {
					x[i] = v + h
					up := value()
					x[i] = v - h
					out[i] = (up - value()) / (2 * h)
					x[i] = v
				}
				return out
			}
			r := must(lane.Evaluate(sc.batch, sc.state, sc.progress, alone))
			var gradients, gradM, gradD [][]float64
			for head := range r.Gradients {
				gradients = append(gradients, slices.Clone(r.Gradients[head]))
			}
			for g := range r.GradM {
				gradM, gradD = append(gradM, slices.Clone(r.GradM[g])), append(gradD, slices.Clone(r.GradD[g]))
			}
			for head, p := range sc.batch.Heads {
				within(t, "gradient of the student", gradients[head], slope(p.Student), 1e-6, 1e-8)
			}
			for g, p := range sc.state.Priors {
				within(t, "gradient of m", gradM[g], slope(p.M), 1e-6, 1e-8)
				within(t, "gradient of d", gradD[g], slope(p.D), 1e-6, 1e-8)
			}
		})
	}
}

// TestSoftLabels: a student that is sure and wrong has the full gradient (s - t) / N tau, however large its features
// are, and the value is reported as it is.
func TestSoftLabels(t *testing.T) {
	c := loss.DefaultConfig(loss.KL)
	c.StudentTemperature = 2
	lane := must(single([]loss.Config{c}, 2, 1)).Lane(0, 1)
	b := pair([]float64{1e4, 0}, []float64{0, 2e4})
	r := must(lane.Evaluate(b, with(nil), 0, alone))
	near(t, "gradient", r.Gradients[0], []float64{-0.5, 0.5})
	near(t, "value", []float64{r.Loss, r.Terms[0].Value}, []float64{1e4, 1e4})
}

// TestCrossEntropy compares with hand-made values; samples without a label count nowhere.
func TestCrossEntropy(t *testing.T) {
	c := loss.DefaultConfig(loss.CrossEntropy)
	c.LabelSmoothing = 0.3
	lane := must(single([]loss.Config{c}, 3, 3)).Lane(0, 3)
	b := pair(nil, []float64{0, 0, 0, 5, 6, 7, math.Log(2), 0, 0}) // 1/3 each; no label; 1/2, 1/4, 1/4
	b.Labels = []int{2, -1, 0}
	r := must(lane.Evaluate(b, with(nil), 0, alone))
	near(t, "value", []float64{r.Loss}, []float64{(math.Log(3) + 0.8*math.Log(2) + 0.2*math.Log(4)) / 2})
	near(t, "gradient", scaled(r.Gradients[0], 2), []float64{
		1./3 - 0.1, 1./3 - 0.1, 1./3 - 0.8, 0, 0, 0, 0.5 - 0.8, 0.25 - 0.1, 0.25 - 0.1,
	})
	if r.Health.Accuracy != 0.5 || r.Health.Labelled != 2 {
		t.Errorf("accuracy %v of %d labelled samples, want 0.5 of 2", r.Health.Accuracy, r.Health.Labelled)
	}
	b.Labels = []int{-1, -1, -1}
	r = must(lane.Evaluate(b, with(nil), 0, alone))
	if r.Loss != 0 || slices.Max(r.Gradients[0]) != 0 || slices.Min(r.Gradients[0]) != 0 || r.Health.Accuracy != 0 {
		t.Errorf("without labels: loss %v, gradient %v, accuracy %v", r.Loss, r.Gradients[0], r.Health.Accuracy)
	}
}

// TestExtremeFeatures: the largest finite features give finite results, whole and cut.
func TestExtremeFeatures(t *testing.T) {
	const big = math.MaxFloat64
	for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
		c := loss.DefaultConfig(loss.PriorMutualInformation)
		c.Posterior, c.TeacherTemperature, c.StudentTemperature = posterior, 1e-3, 1e-3
		terms := []loss.Config{c, loss.DefaultConfig(loss.CrossEntropy)}
		l := must(single(terms, 3, 4))
		prior := must(newPrior(c.Prior, 3, 1))
		b := pair(
			[]float64{big, -big, 0, 0, 0, 0, -big, -big, -big, 0, 0, big},
			[]float64{-big, big, 0, 0, 0, 0, -big, -big, -big, 0, 1e-300, big},
		)
		b.Labels = []int{0, 1, 2, 0}
		r := evaluate(t, l, []int{1, 3}, b, with(prior), 0)
		for _, v := range append([]float64{r.Loss}, r.Gradients[0]...) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s: loss %v, gradient %v", posterior, r.Loss, r.Gradients[0])
				break
			}
		}
	}
}
