package loss_test

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"

	"pupil/loss"
)

var (
	table = flag.Bool("table", false, "learn in every way that docs/method.md has figures of; with -v")
	seeds = flag.Uint64("seeds", 3, "number of seeds, each with clusters and a student of its own")
)

// starts are those of the table in docs/method.md.
var starts = []struct {
	name        string
	start       loss.Start
	recommended bool
}{
	{"cold", loss.Start{}, false},
	{"falling", loss.DefaultConfig(loss.PriorMutualInformation).Start, true},
	{"held 0.1", loss.Start{KL: 0.1, Hold: true}, false},
	{"held 1", loss.Start{KL: 1, Hold: true}, true},
	{"held 3", loss.Start{KL: 3, Hold: true}, true},
}

// rates are those of a job that does not give one.
var rates = map[string]float64{
	loss.UpdateNatural: 1, loss.UpdateNone: 0, loss.UpdateMaximize: 0.1, loss.UpdateMinimize: 0.1,
}

// tenClusterCourse is 200 steps of 256 samples.
func tenClusterCourse(c loss.Config) course {
	return course{terms: []loss.Config{c}, steps: 200, hidden: 32}
}

// combination is a term with an update at its usual rate.
func combination(joint, posterior, update string, start loss.Start) loss.Config {
	c := mutualOf(update, rates[update])
	c.Joint, c.Posterior, c.Start = joint, posterior, start
	return c
}

// enough is what a recommended combination reaches: share of the teacher's mutual information, and of the samples.
const enough = 0.95

// TestLearning: with every combination that docs/method.md recommends, a student reaches 95% of the teacher's mutual
// information on held-out samples, with the teacher's classes in the teacher's order, for each of three seeds.
func TestLearning(t *testing.T) {
	lessons := tenClusterLessons()
	for _, joint := range []string{loss.JointProduct, loss.JointSymmetric} {
		for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
			for _, update := range []string{loss.UpdateNatural, loss.UpdateNone, loss.UpdateMaximize, loss.UpdateMinimize} {
				for _, s := range starts {
					recommended := update == loss.UpdateNatural && s.recommended
					if !recommended && !*table {
						continue
					}
					t.Run(joint+"/"+posterior+"/"+update+"/"+s.name, func(t *testing.T) {
						t.Parallel()
						for i, o := range teach(t, lessons, tenClusterCourse(combination(joint, posterior, update, s.start))) {
							if recommended && !(o.share >= enough && o.purity >= enough && o.order >= enough) {
								t.Errorf("seed %d: %v; want %v or more of each", lessons[i].seed, o, enough)
							}
						}
					})
				}
			}
		}
	}
}

// TestOverClustering: with twice the teacher's classes a cold start loses none of them, in an order of its own.
func TestOverClustering(t *testing.T) {
	lessons := tenClusterLessons()
	outputs := map[string][]int{loss.PosteriorConditional: {20}}
	if *table {
		outputs[loss.PosteriorConditional] = []int{12, 15, 20, 30, 40}
		outputs[loss.PosteriorSample] = []int{20, 40}
		outputs[loss.PosteriorMixture] = []int{20, 30, 40}
	}
	for posterior, widths := range outputs {
		for _, width := range widths {
			t.Run(fmt.Sprintf("%s/%d", posterior, width), func(t *testing.T) {
				t.Parallel()
				c := tenClusterCourse(combination(loss.JointProduct, posterior, loss.UpdateNatural, loss.Start{}))
				c.outputs = width
				recommended := posterior == loss.PosteriorConditional && width >= 20
				for i, o := range teach(t, lessons, c) {
					if recommended && !(o.share >= enough && o.purity >= enough) {
						t.Errorf("seed %d: %v; want %v or more of both", lessons[i].seed, o, enough)
					}
				}
			})
		}
	}
}

// TestNotRecommended: what docs/method.md says against the other combinations.
func TestNotRecommended(t *testing.T) {
	const (
		product, symmetric, conditional = loss.JointProduct, loss.JointSymmetric, loss.PosteriorConditional
		natural                         = loss.UpdateNatural
	)
	cold, falling := starts[0].start, starts[1].start
	lagging := combination(product, conditional, natural, cold)
	lagging.Prior.Rate = 0.5
	lessons := tenClusterLessons()
	tests := []struct {
		name string
		loss.Config
		bad func(o outcome) bool
	}{
		{"cold merges classes", combination(product, conditional, natural, cold), func(o outcome) bool {
			return o.purity < 0.92 && o.order < 0.3
		}},
		{"cold and symmetric merges more", combination(symmetric, conditional, natural, cold), func(o outcome) bool {
			return o.purity < 0.8
		}},
		{"a prior that lags merges more", lagging, func(o outcome) bool { return o.purity < 0.8 }},
		{"maximize", combination(product, conditional, loss.UpdateMaximize, cold), func(o outcome) bool {
			return o.purity < 0.6
		}},
		{"none", combination(product, conditional, loss.UpdateNone, cold), func(o outcome) bool { return o.purity < 0.6 }},
		{
			"minimize ends with a few classes", combination(product, conditional, loss.UpdateMinimize, cold),
			func(o outcome) bool { return o.purity < 0.4 },
		},
		{
			"a falling KL does not save minimize", combination(product, conditional, loss.UpdateMinimize, falling),
			func(o outcome) bool { return o.purity < 0.92 },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for i, o := range teach(t, lessons, tenClusterCourse(test.Config)) {
				if !test.bad(o) {
					t.Errorf("seed %d: %v, which is not what the documentation says", lessons[i].seed, o)
				}
			}
		})
	}
}

// TestSlightKL: a slight KL that stays keeps the classes apart, but some students name them in another order.
func TestSlightKL(t *testing.T) {
	worst := 1.0
	c := combination(loss.JointProduct, loss.PosteriorConditional, loss.UpdateNatural, starts[2].start)
	for i, o := range teach(t, tenClusterLessons(), tenClusterCourse(c)) {
		if o.purity < enough {
			t.Errorf("seed %d: %v; want a purity of %v or more", tenClusterLessons()[i].seed, o, enough)
		}
		worst = min(worst, o.order)
	}
	if worst >= 0.9 {
		t.Errorf("every student has its classes in the teacher's order, for %.3f of the samples or more", worst)
	}
}

// TestSharpens: mutual information that is alone in the end gets above the teacher's two views of a sample, and above
// KL.
func TestSharpens(t *testing.T) {
	lessons := tenClusterLessons()
	mutual := teach(t, lessons, tenClusterCourse(loss.DefaultConfig(loss.PriorMutualInformation)))
	kl := teach(t, lessons, tenClusterCourse(loss.DefaultConfig(loss.KL)))
	for i, o := range mutual {
		if !(o.share > 1 && o.share > kl[i].share+0.015) {
			t.Errorf("seed %d: mutual information %.3f of the teacher's, with kl %.3f", lessons[i].seed, o.share, kl[i].share)
		}
	}
}

// TestLossIsMinusInformation: with the prior at the marginal, the loss is -I to 1e-12, whatever the shape; and joints
// sum to 1.
func TestLossIsMinusInformation(t *testing.T) {
	for i, s := range []shape{{2, 1}, {2, 17}, {5, 64}, {13, 30}, {40, 200}} {
		for _, joint := range []string{loss.JointProduct, loss.JointSymmetric} {
			c := mutualOf(loss.UpdateNatural, 1)
			c.Joint = joint
			l := must(single([]loss.Config{c}, s.classes, s.samples))
			b := randomBatch(uint64(20+i), s.samples, s.classes)
			r := must(l.Lane(0, s.samples).Evaluate(b, must(l.NewState()), 0, alone))

			sum, information := 0.0, 0.0
			rows, columns := make([]float64, s.classes), make([]float64, s.classes)
			for at, p := range r.Joints[0] {
				sum += p
				rows[at/s.classes] += p
				columns[at%s.classes] += p
			}
			for at, p := range r.Joints[0] {
				information += p * math.Log(p/(rows[at/s.classes]*columns[at%s.classes]))
			}
			if !(math.Abs(sum-1) <= 1e-12 && math.Abs(r.Loss+information) <= 1e-12) {
				t.Errorf("%v %s: the joint sums to %v, loss %v, mutual information %v", s, joint, sum, r.Loss, information)
			}
		}
	}
}

// TestLearningGradient: the student's own gradient is that of central differences, so that the tests above train it.
func TestLearningGradient(t *testing.T) {
	l := newLesson(tenClusters(7), 7)
	n := newNetwork(7, l.dims, 6, 10)
	x := l.train.student[:32*l.dims]
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Prior.Update = loss.UpdateNone
	criterion := must(single([]loss.Config{c}, 10, 32))
	state := must(criterion.NewState())
	lane := criterion.Lane(0, 32)
	value := func() *loss.Result {
		return must(lane.Evaluate(pair(l.train.teacher[:32*10], n.forward(x)), state, 0.1, alone))
	}
	n.backward(x, value().Gradients[0])
	analytic := slices.Clone(n.g)
	const h = 1e-5
	for i := range n.w {
		kept := n.w[i]
		n.w[i] = kept + h
		above := value().Loss
		n.w[i] = kept - h
		below := value().Loss
		n.w[i] = kept
		if want := (above - below) / (2 * h); math.Abs(analytic[i]-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("parameter %d: gradient %v, central difference %v", i, analytic[i], want)
		}
	}
}
