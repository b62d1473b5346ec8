package loss_test

import (
	"math"
	"testing"

	"pupil/loss"
)

// TestHealth: three students of a sure teacher with four classes: one that copies it, one that merges all classes, and
// one that merges pairs.
func TestHealth(t *testing.T) {
	const classes, samples = 4, 8
	oneHot := func(class func(n int) int) []float64 {
		f := make([]float64, samples*classes)
		for n := range samples {
			f[n*classes+class(n)] = 1e3
		}
		return f
	}
	teacher := oneHot(func(n int) int { return n % 4 })
	tests := []struct {
		name    string
		student []float64
		want    loss.Health
	}{
		{"copies", teacher, loss.Health{MutualInformation: math.Log(4), StudentEntropy: math.Log(4), UsedClasses: 4}},
		{"merges all", oneHot(func(int) int { return 1 }), loss.Health{UsedClasses: 1}},
		{"uniform", make([]float64, samples*classes), loss.Health{
			StudentEntropy: math.Log(4), ConditionalEntropy: math.Log(4), UsedClasses: 1,
		}},
		{"merges pairs", oneHot(func(n int) int { return n % 2 }), loss.Health{
			MutualInformation: math.Log(2), StudentEntropy: math.Log(2), UsedClasses: 2,
		}},
	}
	for _, test := range tests {
		for _, joint := range []string{loss.JointProduct, loss.JointSymmetric} {
			t.Run(test.name+" "+joint, func(t *testing.T) {
				c := mutualOf(loss.UpdateNatural, 1)
				c.Joint = joint
				l := must(single([]loss.Config{c}, classes, samples))
				prior := must(newPrior(c.Prior, classes, 1))
				b := pair(teacher, test.student)
				got := evaluate(t, l, []int{5, 3}, b, with(prior), 0).Health
				want := test.want
				values := func(h loss.Health) []float64 {
					return []float64{h.MutualInformation, h.StudentEntropy, h.ConditionalEntropy, float64(h.UsedClasses)}
				}
				within(t, "I, H(S), H(S|T), used", values(got), values(want), 1e-9, 1e-9)
				within(t, "log C, bias", []float64{got.LogClasses, got.Bias}, []float64{math.Log(4), 9. / 16}, 1e-12, 0)
				if joint == loss.JointProduct { // the natural prior is at the student's marginal
					within(t, "entropy of the prior", []float64{got.PriorEntropy}, []float64{want.StudentEntropy}, 0, 1e-4) // but for the floor of its logarithm
				}
				if got.TeacherUsedClasses != 4 {
					t.Errorf("the teacher uses %d classes, want 4", got.TeacherUsedClasses)
				}
			})
		}
	}
}

// TestStart: the KL start falls linearly to 0 over its share of the steps, or is held, and its value is reported after.
func TestStart(t *testing.T) {
	tests := []struct {
		start    loss.Start
		progress float64
		want     float64
	}{
		{loss.Start{KL: 2, Share: 0.4}, 0, 2},
		{loss.Start{KL: 2, Share: 0.4}, 0.1, 1.5},
		{loss.Start{KL: 2, Share: 0.4}, 0.4, 0},
		{loss.Start{KL: 2, Share: 0.4}, 1, 0},
		{loss.Start{KL: 2}, 0, 0},
		{loss.Start{KL: 2, Share: 0.4, Hold: true}, 1, 2},
	}
	b := randomBatch(8, 5, 3)
	for _, test := range tests {
		c := mutualOf(loss.UpdateNatural, 1)
		c.Weight, c.Start = 0.5, test.start
		kl := loss.DefaultConfig(loss.KL)
		lane := must(single([]loss.Config{c, kl}, 3, 5)).Lane(0, 5)
		r := must(lane.Evaluate(b, with(must(newPrior(c.Prior, 3, 1))), test.progress, alone))
		start := r.Terms[1]
		if start.Name != "start_kl" || math.Abs(start.Weight-0.5*test.want) > 1e-15 || start.Value != r.Terms[2].Value {
			t.Errorf("%+v at %v: %+v, want weight %v and the KL term's value %v",
				test.start, test.progress, start, 0.5*test.want, r.Terms[2].Value)
		}
	}
}

// TestRamp: a term's weight is its own until begin, changes linearly, and stays from end on.
func TestRamp(t *testing.T) {
	c := loss.DefaultConfig(loss.KL)
	c.Weight, c.Ramp = 2, loss.Ramp{From: 3, To: 1, Begin: 0.25, End: 0.75}
	lane := must(single([]loss.Config{c}, 3, 5)).Lane(0, 5)
	b := randomBatch(9, 5, 3)
	for progress, want := range map[float64]float64{0: 6, 0.25: 6, 0.5: 4, 0.625: 3, 0.75: 2, 1: 2} {
		r := must(lane.Evaluate(b, with(nil), progress, alone))
		if term := r.Terms[0]; math.Abs(term.Weight-want) > 1e-15 || math.Abs(r.Loss-want*term.Value) > 1e-12 {
			t.Errorf("at %v: weight %v and loss %v of a term of %v, want weight %v", progress, term.Weight, r.Loss, term.Value, want)
		}
	}
}
