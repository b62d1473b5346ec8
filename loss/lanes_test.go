package loss_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
	"pupil/loss/plain"
)

// scenario is a random loss, batch and prior.
type scenario struct {
	classes, samples int
	terms            []loss.Config
	batch            loss.Batch
	prior            *loss.Prior
	progress         float64
}

// draw makes the scenario of a seed: every form of every term comes up.
func draw(seed uint64) scenario {
	s := random.New(random.PurposeTest, seed)
	sc := scenario{classes: 2 + s.IntN(9), samples: 1 + s.IntN(24), progress: s.Float64()}
	mutual := loss.DefaultConfig(loss.PriorMutualInformation)
	mutual.Weight = s.Uniform(0.5, 2)
	mutual.TeacherTemperature, mutual.StudentTemperature = s.Uniform(0.5, 2), s.Uniform(0.5, 2)
	mutual.Joint = []string{loss.JointProduct, loss.JointSymmetric}[s.IntN(2)]
	mutual.Posterior = []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture}[s.IntN(3)]
	mutual.Start = loss.Start{KL: s.Uniform(0, 2), Share: s.Float64(), Hold: s.IntN(2) == 0}
	mutual.Prior.Groups = 1 + s.IntN(3)
	mutual.Prior.Distribution = []string{loss.Gaussian, loss.Laplace}[s.IntN(2)]
	mutual.Prior.Weights = normals(s, mutual.Prior.Groups, 1)
	if s.IntN(2) == 0 {
		mutual.Prior.Mean = normals(s, sc.classes, 0.5)
	}
	mutual.Prior.Update = []string{
		loss.UpdateNatural, loss.UpdateMaximize, loss.UpdateMinimize, loss.UpdateNone,
	}[s.IntN(4)]
	mutual.Prior.Rate = s.Uniform(0.1, 1)
	mutual.Prior.Bound = s.Uniform(0.1, 2)
	kl := loss.DefaultConfig(loss.KL)
	kl.Weight, kl.TeacherTemperature, kl.StudentTemperature = s.Uniform(0.1, 1), s.Uniform(1, 4), s.Uniform(1, 4)
	labels := loss.DefaultConfig(loss.CrossEntropy)
	labels.Weight, labels.LabelSmoothing = s.Uniform(0.1, 1), s.Uniform(0, 0.3)
	sc.terms = [][]loss.Config{{mutual}, {kl, mutual}, {labels}, {labels, kl}, {mutual, kl, labels}}[s.IntN(5)]

	size := sc.samples * sc.classes
	sc.batch = loss.Batch{Teacher: normals(s, size, 2), Student: normals(s, size, 1.5), Labels: make([]int, sc.samples)}
	for n := range sc.batch.Labels {
		sc.batch.Labels[n] = s.IntN(sc.classes+1) - 1
	}
	sc.prior = must(loss.NewPrior(mutual.Prior, sc.classes, seed))
	return sc
}

func (sc scenario) loss() *loss.Loss { return must(loss.New(sc.terms, sc.classes, sc.samples)) }

// cut draws a way to cut the batch into 1 to 5 lanes, some of them empty.
func (sc scenario) cut(s *random.Stream) []int {
	cut := make([]int, 1+s.IntN(5))
	for range sc.samples {
		cut[s.IntN(len(cut))]++
	}
	return cut
}

// TestAnyCutGivesTheSameBits is the promise of the package, over several steps of the prior; the plain evaluation says
// that the bits are those of the right numbers.
func TestAnyCutGivesTheSameBits(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			sc, s := draw(seed), random.New(random.PurposeTest, seed, 1)
			l := sc.loss()
			prior := sc.prior
			for step := range 3 {
				whole := evaluate(t, l, sc.classes, []int{sc.samples}, sc.batch, prior, sc.progress)
				for range 3 {
					cut := sc.cut(s)
					got := evaluate(t, l, sc.classes, cut, sc.batch, prior, sc.progress)
					sameGlobal(t, whole, got)
					if !slices.Equal(bits(whole.Gradient), bits(got.Gradient)) {
						t.Errorf("step %d, cut %v: the gradient's bits differ from the uncut batch's", step, cut)
					}
				}
				want := must(plain.Evaluate(sc.terms, sc.classes, sc.batch, prior, sc.progress))
				compareWithPlain(t, whole, want)
				prior = whole.Prior
				for i := range sc.batch.Student {
					sc.batch.Student[i] -= 5 * whole.Gradient[i]
				}
			}
		})
	}
}

func compareWithPlain(t *testing.T, got *loss.Result, want *plain.Result) {
	t.Helper()
	near(t, "loss", []float64{got.Loss}, []float64{want.Loss})
	near(t, "gradient", got.Gradient, want.Gradient)
	if len(got.Terms) != len(want.Terms) {
		t.Fatalf("terms %v, want %v", got.Terms, want.Terms)
	}
	for i, w := range want.Terms {
		g := got.Terms[i]
		near(t, "term "+w.Name, []float64{g.Weight, g.Value}, []float64{w.Weight, w.Value})
		if g.Name != w.Name {
			t.Errorf("term %d is %s, want %s", i, g.Name, w.Name)
		}
	}
	if (got.Prior == nil) != (want.Prior == nil) {
		t.Fatalf("prior %v, want %v", got.Prior, want.Prior)
	}
	if got.Prior != nil {
		near(t, "joint", got.Joint, want.Joint)
		near(t, "joint information", []float64{got.Health.JointInformation}, []float64{want.MutualInformation})
		near(t, "gradient of m", got.GradM, want.GradM)
		near(t, "gradient of d", got.GradD, want.GradD)
		near(t, "m", got.Prior.M, want.Prior.M)
		near(t, "d", got.Prior.D, want.Prior.D)
	}
}

// TestLaneIsReused evaluates two batches with one workspace: nothing of the first is left in the second.
func TestLaneIsReused(t *testing.T) {
	for seed := range uint64(40) {
		sc := draw(seed)
		other := sc.batch
		other.Student = scaled(sc.batch.Student, -3)
		l := sc.loss()
		lane := l.Lane(sc.samples)
		first := must(lane.Evaluate(other, sc.prior, 0, alone))
		kept := globalBits(first)
		got := must(lane.Evaluate(sc.batch, sc.prior, sc.progress, alone))
		want := must(l.Lane(sc.samples).Evaluate(sc.batch, sc.prior, sc.progress, alone))
		sameGlobal(t, want, got)
		if !slices.Equal(bits(want.Gradient), bits(got.Gradient)) {
			t.Errorf("seed %d: the gradient depends on what the lane did before", seed)
		}
		again := must(lane.Evaluate(other, sc.prior, 0, alone))
		if !slices.Equal(kept, globalBits(again)) {
			t.Errorf("seed %d: an evaluation tried again differs", seed)
		}
	}
}

// TestBadInput puts one bad value into one lane of three: all lanes return, after one reduction, with the same
// sentinel, and the lane itself says where.
func TestBadInput(t *testing.T) {
	terms := []loss.Config{loss.DefaultConfig(loss.PriorMutualInformation), loss.DefaultConfig(loss.CrossEntropy)}
	terms[0].Posterior = loss.PosteriorMixture
	const classes, samples = 4, 9
	tests := []struct {
		name  string
		spoil func(b *loss.Batch) // sample 5 is sample 2 of the second lane
		want  error
		says  []string
	}{
		{
			"student NaN", func(b *loss.Batch) { b.Student[5*classes+1] = math.NaN() },
			loss.ErrNonFinite,
			[]string{"sample 2", "student", "feature 1 is NaN"},
		},
		{
			"student Inf", func(b *loss.Batch) { b.Student[5*classes] = math.Inf(1) },
			loss.ErrNonFinite,
			[]string{"sample 2", "student", "feature 0 is +Inf"},
		},
		{
			"teacher -Inf", func(b *loss.Batch) { b.Teacher[5*classes+3] = math.Inf(-1) },
			loss.ErrNonFinite,
			[]string{"sample 2", "teacher", "feature 3 is -Inf"},
		},
		{
			"label too large", func(b *loss.Batch) { b.Labels[5] = classes },
			loss.ErrLabel,
			[]string{"sample 2", "label 4"},
		},
		{
			"label under -1", func(b *loss.Batch) { b.Labels[5] = -2 },
			loss.ErrLabel,
			[]string{"sample 2", "label -2"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := random.New(random.PurposeTest, 7)
			b := loss.Batch{
				Teacher: normals(s, samples*classes, 1), Student: normals(s, samples*classes, 1),
				Labels: make([]int, samples),
			}
			test.spoil(&b)
			l := must(loss.New(terms, classes, samples))
			prior := must(loss.NewPrior(terms[0].Prior, classes, 1))
			results, errs := run(t, l, classes, []int{3, 3, 3}, b, prior, 0)
			for i, err := range errs {
				if results[i] != nil || !errors.Is(err, test.want) {
					t.Errorf("lane %d: %v, %v; want an error that is %v", i, results[i], err, test.want)
				}
			}
			for _, word := range test.says {
				if !strings.Contains(errs[1].Error(), word) {
					t.Errorf("%q does not say %q", errs[1], word)
				}
			}
			if !errors.Is(errs[0], loss.ErrElsewhere) || errors.Is(errs[1], loss.ErrElsewhere) {
				t.Errorf("%q and %q; the first lane's alone must say that it was another lane", errs[0], errs[1])
			}
		})
	}
}

// TestBadShapes: wrong lengths, and lanes that do not add up to the global batch, are errors in every lane too.
func TestBadShapes(t *testing.T) {
	terms := []loss.Config{loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.CrossEntropy)}
	l := must(loss.New(terms, 3, 4))
	good := loss.Batch{Teacher: make([]float64, 6), Student: make([]float64, 6), Labels: make([]int, 2)}
	for name, bad := range map[string]loss.Batch{
		"student": {Teacher: good.Teacher, Student: make([]float64, 7), Labels: good.Labels},
		"teacher": {Student: good.Student, Labels: good.Labels},
		"labels":  {Teacher: good.Teacher, Student: good.Student},
	} {
		reducer := newBarrier(2)
		errs := make(chan error, 2)
		for _, b := range []loss.Batch{good, bad} {
			go func() {
				_, err := l.Lane(2).Evaluate(b, nil, 0, reducer.reduce)
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, loss.ErrBatch) {
				t.Errorf("%s: %v, want ErrBatch", name, err)
			}
		}
	}
	if _, err := l.Lane(2).Evaluate(good, nil, 0, alone); !errors.Is(err, loss.ErrBatch) {
		t.Errorf("2 of 4 samples: %v, want ErrBatch", err)
	}
}

// TestSharedFaults are found before any reduction, since every lane finds them.
func TestSharedFaults(t *testing.T) {
	sc := draw(3)
	sc.terms = []loss.Config{loss.DefaultConfig(loss.PriorMutualInformation)}
	prior := must(loss.NewPrior(sc.terms[0].Prior, sc.classes, 1))
	wider := must(loss.NewPrior(sc.terms[0].Prior, sc.classes+1, 1))
	short := *prior
	short.D = short.D[1:]
	wild := *prior
	wild.M = slices.Clone(prior.M)
	wild.M[0] = math.NaN()
	still := *prior
	still.W = []float64{0}
	never := func([]int64) error {
		t.Error("reduced")
		return nil
	}
	for name, p := range map[string]*loss.Prior{
		"none": nil, "wider": wider, "short": &short, "wild": &wild, "still": &still,
	} {
		if _, err := sc.loss().Lane(sc.samples).Evaluate(sc.batch, p, 0, never); err == nil {
			t.Errorf("prior %s: no error", name)
		}
	}
	if _, err := sc.loss().Lane(sc.samples).Evaluate(sc.batch, prior, math.NaN(), never); err == nil {
		t.Error("progress NaN: no error")
	}
}

// TestReduceFails hands the reducer's error through, from either round.
func TestReduceFails(t *testing.T) {
	term := loss.DefaultConfig(loss.PriorMutualInformation)
	term.Posterior = loss.PosteriorMixture
	sc := draw(4)
	sc.terms = []loss.Config{term}
	prior := must(loss.NewPrior(term.Prior, sc.classes, 1))
	lane := sc.loss().Lane(sc.samples)
	aborted := errors.New("aborted")
	for round := range 2 {
		calls := 0
		_, err := lane.Evaluate(sc.batch, prior, 0, func([]int64) error {
			calls++
			if calls > round {
				return aborted
			}
			return nil
		})
		if !errors.Is(err, aborted) || calls != round+1 {
			t.Errorf("round %d: %v after %d calls, want the reducer's error", round, err, calls)
		}
	}
}
