package loss_test

import (
	"slices"
	"testing"

	"pupil/loss"
)

// cuts returns ways to cut n samples into lanes, the first of them one lane: even, uneven and with empty lanes.
func cuts(n int) [][]int {
	all := [][]int{{n}, {n, 0}, {0, n, 0}}
	if n < 3 {
		return all
	}
	return append(all, []int{n / 2, n - n/2}, []int{1, n - 1}, []int{n / 3, n / 3, n - 2*(n/3)}, []int{2, 0, n - 2})
}

// TestReference holds every case to PyTorch's values and gradients, whole and in every cut, and every cut to the bits
// of the whole.
func TestReference(t *testing.T) {
	for _, r := range references(t) {
		t.Run(r.Name, func(t *testing.T) {
			l, err := single([]loss.Config{r.term(loss.UpdateNone, 0)}, r.C, r.N)
			if err != nil {
				t.Fatal(err)
			}
			var whole *loss.Result
			for _, cut := range cuts(r.N) {
				prior := r.prior()
				got := evaluate(t, l, cut, r.batch(), with(prior), 0)
				compare(t, r, got)
				if whole == nil {
					whole = got
				}
				sameGlobal(t, whole, got)
				if !slices.Equal(bits(whole.Gradients[0]), bits(got.Gradients[0])) {
					t.Errorf("cut %v: the gradient's bits differ from the uncut batch's", cut)
				}
				if !slices.Equal(prior.M, r.M) || !slices.Equal(prior.D, r.D) {
					t.Error("the given prior was written to")
				}
			}
		})
	}
}

func compare(t *testing.T, r reference, got *loss.Result) {
	t.Helper()
	near(t, "loss", []float64{got.Loss}, []float64{r.Loss})
	near(t, "mutual information", []float64{got.Health.JointInformation}, []float64{r.MutualInformation})
	if r.Options.Joint == loss.JointProduct {
		near(t, "product's mutual information", []float64{got.Health.MutualInformation}, []float64{r.MutualInformation})
	}
	near(t, "joint", got.Joints[0], r.Joint)
	near(t, "prior", probabilities(got.State.Priors[0]), r.Prior)
	near(t, "gradient of the student", got.Gradients[0], r.GradStudent)
	sign := 1.0
	if r.Options.Update == loss.UpdateMaximize { // the case has the reversed gradient, a result the exact one
		sign = -1
	}
	near(t, "gradient of m", got.GradM[0], scaled(r.GradM, sign))
	near(t, "gradient of d", got.GradD[0], scaled(r.GradD, sign))
}

func scaled(v []float64, factor float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = factor * v[i]
	}
	return out
}

// TestReferencePrior holds one natural step, eta = 0.5, and one step along the gradient either way to the cases.
func TestReferencePrior(t *testing.T) {
	for _, r := range references(t) {
		t.Run(r.Name, func(t *testing.T) {
			for _, cut := range cuts(r.N) {
				natural := must(single([]loss.Config{r.term(loss.UpdateNatural, 0.5)}, r.C, r.N))
				got := evaluate(t, natural, cut, r.batch(), with(r.prior()), 0)
				near(t, "m after a natural step", got.State.Priors[0].M, r.NaturalM)
				near(t, "d after a natural step", got.State.Priors[0].D, r.NaturalD)

				term := r.term(r.Options.Update, 0.25)
				term.Prior.Bound = 1e3 // out of the way
				literal := must(single([]loss.Config{term}, r.C, r.N))
				got = evaluate(t, literal, cut, r.batch(), with(r.prior()), 0)
				near(t, "loss", []float64{got.Loss}, []float64{r.Loss})
				near(t, "m after a step", got.State.Priors[0].M, stepped(r.M, r.GradM))
				near(t, "d after a step", got.State.Priors[0].D, stepped(r.D, r.GradD))
			}
		})
	}
}

// stepped is a descent step with a learning rate of 0.25 on a gradient that the case has reversed already for ascent.
func stepped(v, g []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = v[i] - 0.25*g[i]
	}
	return out
}
