package loss_test

import (
	"math"
	"slices"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
)

// mutualOf is a cold prior mutual information with an update of the prior.
func mutualOf(update string, rate float64) loss.Config {
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Start = loss.Start{}
	c.Prior.Update, c.Prior.Rate = update, rate
	return c
}

func randomBatch(seed uint64, samples, classes int) loss.Batch {
	s := random.New(random.PurposeTest, seed)
	return pair(normals(s, samples*classes, 2), normals(s, samples*classes, 1.5))
}

// TestPriorAtTheMarginal: with eta = 1 the prior is the student's marginal after one step, the loss is minus the mutual
// information, the joint sums to 1, and H(S) - H(S|T) = I.
func TestPriorAtTheMarginal(t *testing.T) {
	for _, form := range []string{loss.JointProduct, loss.JointSymmetric} {
		for _, groups := range []int{1, 3} {
			const samples, classes = 40, 7
			c := mutualOf(loss.UpdateNatural, 1)
			c.Joint, c.Prior.Groups = form, groups
			prior := must(newPrior(c.Prior, classes, 5))
			lane := must(single([]loss.Config{c}, classes, samples)).Lane(0, samples)
			r := must(lane.Evaluate(randomBatch(1, samples, classes), with(prior), 0, alone))

			marginal, sum := make([]float64, classes), 0.0
			for i, p := range r.Joints[0] {
				marginal[i%classes] += p
				sum += p
			}
			within(t, "sum of the joint", []float64{sum}, []float64{1}, 0, 1e-14)
			within(t, "prior", probabilities(r.State.Priors[0]), marginal, 1e-12, 0)
			within(t, "loss", []float64{r.Loss}, []float64{-r.Health.JointInformation}, 0, 1e-12)
			h := r.Health
			within(t, "I", []float64{h.StudentEntropy - h.ConditionalEntropy}, []float64{h.MutualInformation}, 0, 1e-12)
			if h.MutualInformation <= 0 || h.MutualInformation > h.LogClasses {
				t.Errorf("mutual information %v of at most %v", h.MutualInformation, h.LogClasses)
			}
		}
	}
}

// TestMeanStays: with a natural update, a configured mean tilts the prior away from the marginal for good.
func TestMeanStays(t *testing.T) {
	const samples, classes = 30, 4
	c := mutualOf(loss.UpdateNatural, 1)
	c.Prior.Mean = []float64{0, 0, 0, -1}
	b := randomBatch(2, samples, classes)
	lane := must(single([]loss.Config{c}, classes, samples)).Lane(0, samples)
	prior := must(newPrior(c.Prior, classes, 5))
	for range 4 {
		prior = must(lane.Evaluate(b, with(prior), 0, alone)).State.Priors[0]
	}
	r := must(lane.Evaluate(b, with(prior), 0, alone))
	want, sum := make([]float64, classes), 0.0
	for i, p := range r.Joints[0] {
		want[i%classes] += p * math.Exp(c.Prior.Mean[i%classes])
	}
	for _, v := range want {
		sum += v
	}
	within(t, "prior", probabilities(r.State.Priors[0]), scaled(want, 1/sum), 1e-12, 0)
}

// TestDescentHasNoFloor: a literal descent step on m and d lowers the loss without end, so its |z| is bounded.
func TestDescentHasNoFloor(t *testing.T) {
	const samples, classes, bound = 30, 4, 3.0
	descend := func(bound float64) (losses []float64, z float64) {
		c := mutualOf(loss.UpdateMinimize, 50)
		c.Prior.Bound, c.Prior.Groups, c.Prior.Weights = bound, 2, []float64{0.7, 1.2}
		prior := must(newPrior(c.Prior, classes, 5))
		lane := must(single([]loss.Config{c}, classes, samples)).Lane(0, samples)
		for range 200 {
			r := must(lane.Evaluate(randomBatch(3, samples, classes), with(prior), 0, alone))
			losses, prior = append(losses, r.Loss), r.State.Priors[0]
		}
		for j := range classes {
			v := 0.0
			for g, w := range prior.W {
				i := g*classes + j
				v += w * (prior.M[i] + prior.D[i]*prior.A[i])
			}
			z = max(z, math.Abs(v))
		}
		return losses, z
	}
	free, _ := descend(math.MaxFloat64)
	if !slices.IsSortedFunc(free, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) || free[199] > -1000 {
		t.Errorf("unbounded descent ends at %v, want a loss that falls step by step far under -1000", free[199])
	}
	held, z := descend(bound)
	if z > bound*(1+1e-12) || held[199] < -2*bound-math.Log(classes) {
		t.Errorf("bounded descent ends at loss %v with |z| up to %v, bound %v", held[199], z, bound)
	}
}

// TestAscentFollows: maximize moves the prior to the marginal, slowly, and none leaves it.
func TestAscentFollows(t *testing.T) {
	const samples, classes = 30, 4
	b := randomBatch(4, samples, classes)
	c := mutualOf(loss.UpdateMaximize, 1)
	prior := must(newPrior(c.Prior, classes, 5))
	lane := must(single([]loss.Config{c}, classes, samples)).Lane(0, samples)
	gap := func(r *loss.Result) float64 { return r.Loss + r.Health.MutualInformation } // -KL(marginal || prior)
	r := must(lane.Evaluate(b, with(prior), 0, alone))
	last := gap(r)
	for range 100 {
		r = must(lane.Evaluate(b, with(r.State.Priors[0]), 0, alone))
		if now := gap(r); now < last-1e-12 || now > 1e-12 {
			t.Fatalf("the loss is %v above minus the mutual information after %v", now, last)
		}
		last = gap(r)
	}
	within(t, "distance after 100 steps", []float64{last}, []float64{0}, 0, 1e-9)

	fixed := must(single([]loss.Config{mutualOf(loss.UpdateNone, 0)}, classes, samples)).Lane(0, samples)
	r = must(fixed.Evaluate(b, with(prior), 0, alone))
	if !slices.Equal(r.State.Priors[0].M, prior.M) || !slices.Equal(r.State.Priors[0].D, prior.D) {
		t.Error("update none moved the prior")
	}
}

// TestExtremePrior: a prior far from the data gives finite numbers or an error, never NaN.
func TestExtremePrior(t *testing.T) {
	const samples, classes = 6, 3
	for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
		for _, far := range []float64{30, 700, 1e5, 1e300, math.MaxFloat64} {
			c := mutualOf(loss.UpdateNone, 0)
			c.Posterior = posterior
			prior := must(newPrior(c.Prior, classes, 5))
			prior.M[0], prior.M[1] = -far, far
			lane := must(single([]loss.Config{c}, classes, samples)).Lane(0, samples)
			r, err := lane.Evaluate(randomBatch(6, samples, classes), with(prior), 0, alone)
			if err != nil {
				continue
			}
			for _, v := range slices.Concat([]float64{r.Loss}, r.Gradients[0], r.GradM[0], r.GradD[0]) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%s, m of %g: loss %v, gradient %v", posterior, far, r.Loss, r.Gradients[0])
				}
			}
		}
	}
}

// TestNewPrior draws the same from the same seed, and other numbers for other seeds, groups and distributions.
func TestNewPrior(t *testing.T) {
	c := loss.DefaultConfig(loss.PriorMutualInformation).Prior
	c.Groups, c.Weights, c.Mean, c.Deviation = 2, []float64{0.25, 0.75}, []float64{1, 2, 3}, 0.5
	p, again := must(newPrior(c, 3, 9)), must(newPrior(c, 3, 9))
	if !slices.Equal(bits(p.A), bits(again.A)) {
		t.Error("one seed, two draws")
	}
	if !slices.Equal(p.M, []float64{1, 2, 3, 1, 2, 3}) || !slices.Equal(p.W, c.Weights) || p.D[5] != 0.5 {
		t.Errorf("prior %+v", p)
	}
	other := must(newPrior(c, 3, 10))
	c.Distribution = loss.Laplace
	laplace := must(newPrior(c, 3, 9))
	if p.A[0] == p.A[3] || p.A[0] == other.A[0] || p.A[0] == laplace.A[0] {
		t.Errorf("draws repeat: %v, %v, %v", p.A, other.A, laplace.A)
	}
	moments := func(distribution string) (mean, variance float64) {
		c := loss.DefaultConfig(loss.PriorMutualInformation).Prior
		c.Distribution = distribution
		const n = 20000
		for _, a := range must(newPrior(c, n, 1)).A {
			mean += a / n
			variance += a * a / n
		}
		return mean, variance
	}
	for distribution, want := range map[string]float64{loss.Gaussian: 1, loss.Laplace: 2} {
		if mean, variance := moments(distribution); math.Abs(mean) > 0.05 || math.Abs(variance/want-1) > 0.05 {
			t.Errorf("%s: mean %v, variance %v, want 0 and %v", distribution, mean, variance, want)
		}
	}
}
