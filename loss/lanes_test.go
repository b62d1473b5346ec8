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

// scenario is a random loss, batch and state.
type scenario struct {
	samples  int
	job      plain.Job
	batch    loss.Batch
	state    *loss.State
	progress float64
}

// draw makes the scenario of a seed: every form of every term comes up, over one or two heads.
func draw(seed uint64) scenario {
	s := random.New(random.PurposeTest, seed)
	sc := scenario{samples: 1 + s.IntN(24), progress: s.Float64(), job: plain.Job{Seed: seed}}
	sc.drawHeads(s)
	mutual := sc.drawMutual(s)
	kl := sc.grouped(s, loss.DefaultConfig(loss.KL))
	kl.Weight, kl.TeacherTemperature, kl.StudentTemperature = s.Uniform(0.1, 1), s.Uniform(1, 4), s.Uniform(1, 4)
	labels := loss.DefaultConfig(loss.CrossEntropy)
	labels.Weight, labels.LabelSmoothing = s.Uniform(0.1, 1), s.Uniform(0, 0.3)
	l2, cosine := sc.grouped(s, loss.DefaultConfig(loss.L2)), sc.grouped(s, loss.DefaultConfig(loss.Cosine))
	sc.job.Terms = [][]loss.Config{
		{mutual}, {kl, mutual}, {labels}, {labels, kl}, {mutual, kl, labels}, {l2}, {cosine, mutual}, {l2, labels, cosine, kl},
	}[s.IntN(8)]
	if h := &sc.job.Heads[0]; len(sc.job.Terms) == 1 && mutual.FeatureGroups == 1 && mutual.Head == 0 && s.IntN(2) == 0 &&
		sc.job.Terms[0].Name == loss.PriorMutualInformation { // over-clustering
		h.Teacher = 2 + s.IntN(9)
		sc.job.Terms[0].Joint, sc.job.Terms[0].Start = loss.JointProduct, loss.Start{}
	}
	for _, h := range sc.job.Heads {
		sc.batch.Heads = append(sc.batch.Heads, loss.Pair{
			Teacher: normals(s, sc.samples*h.Teacher, 2), Student: normals(s, sc.samples*h.Student, 1.5),
		})
	}
	for range sc.samples {
		sc.batch.Labels = append(sc.batch.Labels, s.IntN(sc.job.Heads[0].Student+1)-1)
	}
	sc.state = must(sc.loss().NewState())
	return sc
}

// drawHeads makes one head of any width, or a second one whose channels can be grouped.
func (sc *scenario) drawHeads(s *random.Stream) {
	n := 2 + s.IntN(9)
	sc.job.Heads = []loss.Head{{Teacher: n, Student: n}}
	if s.IntN(2) == 0 {
		n = 2 * (2 + s.IntN(5))
		sc.job.Heads = append(sc.job.Heads, loss.Head{Teacher: n, Student: n})
	}
}

// grouped gives a term one of the heads, feature groups and a ramp.
func (sc *scenario) grouped(s *random.Stream, c loss.Config) loss.Config {
	c.Head = s.IntN(len(sc.job.Heads))
	if c.Head == 1 {
		c.FeatureGroups = 1 + s.IntN(2)
		c.FeatureOrder = []string{loss.OrderContiguous, loss.OrderPermuted}[s.IntN(2)]
	}
	c.Standardize = s.IntN(2) == 0 && sc.samples > 1 // one sample has no deviation
	c.Ramp = loss.Ramp{From: s.Uniform(0, 2), To: s.Uniform(0, 2), Begin: s.Uniform(0, 0.5), End: s.Uniform(0.5, 1)}
	return c
}

func (sc *scenario) drawMutual(s *random.Stream) loss.Config {
	c := sc.grouped(s, loss.DefaultConfig(loss.PriorMutualInformation))
	c.Weight = s.Uniform(0.5, 2)
	c.TeacherTemperature, c.StudentTemperature = s.Uniform(0.5, 2), s.Uniform(0.5, 2)
	c.Joint = []string{loss.JointProduct, loss.JointSymmetric}[s.IntN(2)]
	c.Posterior = []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture}[s.IntN(3)]
	c.Start = loss.Start{KL: s.Uniform(0, 2), Share: s.Float64(), Hold: s.IntN(2) == 0}
	c.Prior.Groups = 1 + s.IntN(3)
	c.Prior.Distribution = []string{loss.Gaussian, loss.Laplace}[s.IntN(2)]
	c.Prior.Weights = normals(s, c.Prior.Groups, 1)
	if s.IntN(2) == 0 {
		c.Prior.Mean = normals(s, sc.job.Heads[c.Head].Student, 0.5)
	}
	c.Prior.Update = []string{
		loss.UpdateNatural, loss.UpdateMaximize, loss.UpdateMinimize, loss.UpdateNone,
	}[s.IntN(4)]
	c.Prior.Rate = s.Uniform(0.1, 1)
	c.Prior.Bound = s.Uniform(0.1, 2)
	return c
}

func (sc scenario) loss() *loss.Loss {
	return must(loss.New(sc.job.Terms, sc.job.Heads, sc.samples, sc.job.Seed))
}

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
			state := sc.state
			for step := range 3 {
				whole := evaluate(t, l, []int{sc.samples}, sc.batch, state, sc.progress)
				for range 3 {
					cut := sc.cut(s)
					got := evaluate(t, l, cut, sc.batch, state, sc.progress)
					sameGlobal(t, whole, got)
					if !slices.Equal(gradientBits(whole), gradientBits(got)) {
						t.Errorf("step %d, cut %v: the gradient's bits differ from the uncut batch's", step, cut)
					}
				}
				want := must(plain.Evaluate(sc.job, sc.batch, state, sc.progress))
				compareWithPlain(t, whole, want)
				state = whole.State
				for head, p := range sc.batch.Heads {
					for i := range p.Student {
						p.Student[i] -= 5 * whole.Gradients[head][i]
					}
				}
			}
		})
	}
}

func compareWithPlain(t *testing.T, got *loss.Result, want *plain.Result) {
	t.Helper()
	near(t, "loss", []float64{got.Loss}, []float64{want.Loss})
	for head := range want.Gradients {
		near(t, fmt.Sprintf("gradient of head %d", head), got.Gradients[head], want.Gradients[head])
	}
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
	for head, m := range want.State.Moments {
		if m != nil {
			near(t, "means", got.State.Moments[head].Mean, m.Mean)
			near(t, "squares", got.State.Moments[head].Square, m.Square)
		}
	}
	if len(got.State.Priors) != len(want.State.Priors) {
		t.Fatalf("%d priors, want %d", len(got.State.Priors), len(want.State.Priors))
	}
	if len(got.State.Priors) > 0 {
		near(t, "joint information", []float64{got.Health.JointInformation}, []float64{want.MutualInformation})
	}
	for i, p := range got.State.Priors {
		near(t, "joint", got.Joints[i], want.Joints[i])
		near(t, "gradient of m", got.GradM[i], want.GradM[i])
		near(t, "gradient of d", got.GradD[i], want.GradD[i])
		near(t, "m", p.M, want.State.Priors[i].M)
		near(t, "d", p.D, want.State.Priors[i].D)
	}
}

// TestLaneIsReused evaluates two batches with one workspace: nothing of the first is left in the second.
func TestLaneIsReused(t *testing.T) {
	for seed := range uint64(40) {
		sc := draw(seed)
		other := loss.Batch{Labels: sc.batch.Labels}
		for _, p := range sc.batch.Heads {
			other.Heads = append(other.Heads, loss.Pair{Teacher: scaled(p.Teacher, 2), Student: scaled(p.Student, -3)})
		}
		l := sc.loss()
		lane := l.Lane(0, sc.samples)
		first := must(lane.Evaluate(other, sc.state, 0, alone))
		kept := globalBits(first)
		got := must(lane.Evaluate(sc.batch, sc.state, sc.progress, alone))
		want := must(l.Lane(0, sc.samples).Evaluate(sc.batch, sc.state, sc.progress, alone))
		sameGlobal(t, want, got)
		if !slices.Equal(gradientBits(want), gradientBits(got)) {
			t.Errorf("seed %d: the gradient depends on what the lane did before", seed)
		}
		again := must(lane.Evaluate(other, sc.state, 0, alone))
		if !slices.Equal(kept, globalBits(again)) {
			t.Errorf("seed %d: an evaluation tried again differs", seed)
		}
	}
}

// TestBadInput puts one bad value into one lane of three: all lanes return, after one reduction, with the same
// sentinel, and the lane itself says where.
func TestBadInput(t *testing.T) {
	terms := []loss.Config{loss.DefaultConfig(loss.PriorMutualInformation), loss.DefaultConfig(loss.CrossEntropy)}
	terms[0].Posterior, terms[0].Standardize = loss.PosteriorMixture, true
	const classes, samples = 4, 9
	tests := []struct {
		name  string
		spoil func(b *loss.Batch) // sample 5 is sample 2 of the second lane
		want  error
		says  []string
	}{
		{
			"student NaN", func(b *loss.Batch) { b.Heads[0].Student[5*classes+1] = math.NaN() },
			loss.ErrNonFinite,
			[]string{"sample 2", "student", "feature 1 is NaN"},
		},
		{
			"student Inf", func(b *loss.Batch) { b.Heads[0].Student[5*classes] = math.Inf(1) },
			loss.ErrNonFinite,
			[]string{"sample 2", "student", "feature 0 is +Inf"},
		},
		{
			"teacher -Inf", func(b *loss.Batch) { b.Heads[0].Teacher[5*classes+3] = math.Inf(-1) },
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
			b := pair(normals(s, samples*classes, 1), normals(s, samples*classes, 1))
			b.Labels = make([]int, samples)
			test.spoil(&b)
			l := must(single(terms, classes, samples))
			results, errs := run(t, l, []int{3, 3, 3}, b, must(l.NewState()), 0)
			for i, err := range errs {
				if results[i] != nil || !errors.Is(err, test.want) {
					t.Errorf("lane %d: %v, %v; want an error that is %v", i, results[i], err, test.want)
				}
			}
			var sample *loss.SampleError
			if !errors.As(errs[1], &sample) || sample.Sample != 2 {
				t.Errorf("%q does not tell the sample's position", errs[1])
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
	l := must(single(terms, 3, 4))
	state := must(l.NewState())
	good := pair(make([]float64, 6), make([]float64, 6))
	good.Labels = make([]int, 2)
	for name, bad := range map[string]loss.Batch{
		"student": {Heads: []loss.Pair{{Teacher: make([]float64, 6), Student: make([]float64, 7)}}, Labels: good.Labels},
		"teacher": {Heads: []loss.Pair{{Student: make([]float64, 6)}}, Labels: good.Labels},
		"labels":  {Heads: good.Heads},
		"heads":   {Labels: good.Labels},
	} {
		reducer := newBarrier(2)
		errs := make(chan error, 2)
		for _, b := range []loss.Batch{good, bad} {
			go func() {
				_, err := l.Lane(0, 2).Evaluate(b, state, 0, reducer.reduce)
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, loss.ErrBatch) {
				t.Errorf("%s: %v, want ErrBatch", name, err)
			}
		}
	}
	if _, err := l.Lane(0, 2).Evaluate(good, state, 0, alone); !errors.Is(err, loss.ErrBatch) {
		t.Errorf("2 of 4 samples: %v, want ErrBatch", err)
	}
}

// TestSharedFaults are found before any reduction, since every lane finds them.
func TestSharedFaults(t *testing.T) {
	const classes, samples = 3, 4
	term := loss.DefaultConfig(loss.PriorMutualInformation)
	l := must(single([]loss.Config{term}, classes, samples))
	b := randomBatch(1, samples, classes)
	prior := must(newPrior(term.Prior, classes, 1))
	wider := must(newPrior(term.Prior, classes+1, 1))
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
		if _, err := l.Lane(0, samples).Evaluate(b, with(p), 0, never); err == nil {
			t.Errorf("prior %s: no error", name)
		}
	}
	for name, state := range map[string]*loss.State{
		"without moments": {}, "two priors": {Priors: []*loss.Prior{prior, prior}, Moments: make([]*loss.Moments, 1)},
	} {
		if _, err := l.Lane(0, samples).Evaluate(b, state, 0, never); err == nil {
			t.Errorf("state %s: no error", name)
		}
	}
	term.Standardize = true
	standard := must(single([]loss.Config{term}, classes, samples))
	if _, err := standard.Lane(0, samples).Evaluate(b, with(prior), 0, never); err == nil {
		t.Error("no moments for a standardised head: no error")
	}
	if _, err := l.Lane(0, samples).Evaluate(b, with(prior), math.NaN(), never); err == nil {
		t.Error("progress NaN: no error")
	}
}

// TestReduceFails hands the reducer's error through, from either round.
func TestReduceFails(t *testing.T) {
	term := loss.DefaultConfig(loss.PriorMutualInformation)
	term.Posterior, term.Standardize = loss.PosteriorMixture, true
	l := must(single([]loss.Config{term}, 3, 4))
	lane, state := l.Lane(0, 4), must(l.NewState())
	aborted := errors.New("aborted")
	for round := range 3 {
		calls := 0
		_, err := lane.Evaluate(randomBatch(1, 4, 3), state, 0, func([]int64) error {
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

// TestPermutedGroups: an order of channels that is drawn from the seed gives what the same channels give in order.
func TestPermutedGroups(t *testing.T) {
	const classes, samples = 12, 20
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.FeatureGroups, c.FeatureOrder = 3, loss.OrderPermuted
	c.Prior.Mean = normals(random.New(random.PurposeTest, 1), classes, 1)
	permuted := must(single([]loss.Config{c}, classes, samples))
	b := randomBatch(2, samples, classes)
	r := must(permuted.Lane(0, samples).Evaluate(b, must(permuted.NewState()), 0, alone))

	order := random.New(random.PurposeChannels, seed, 0).Perm(classes)
	pick := func(v []float64) []float64 {
		out := make([]float64, 0, len(v))
		for at := 0; at < len(v); at += classes {
			for _, from := range order {
				out = append(out, v[at+from])
			}
		}
		return out
	}
	c.FeatureOrder, c.Prior.Mean = loss.OrderContiguous, pick(c.Prior.Mean)
	plain := must(single([]loss.Config{c}, classes, samples))
	sorted := pair(pick(b.Heads[0].Teacher), pick(b.Heads[0].Student))
	want := must(plain.Lane(0, samples).Evaluate(sorted, must(plain.NewState()), 0, alone))
	sameGlobal(t, r, want)
	if !slices.Equal(bits(pick(r.Gradients[0])), gradientBits(want)) {
		t.Error("the gradients differ")
	}
	if slices.Equal(order[:3], []int{0, 1, 2}) {
		t.Error("the channels are in their order")
	}
}

// TestStandardize: the teacher's channels may have any scale and offset; what the loss sees is the same. The first
// batch is standardised by itself, the moments of later ones are running means.
func TestStandardize(t *testing.T) {
	const classes, samples = 5, 40
	c := loss.DefaultConfig(loss.L2)
	c.Standardize = true
	l := must(single([]loss.Config{c}, classes, samples))
	state, other := must(l.NewState()), must(l.NewState())
	for step := range uint64(4) {
		b := randomBatch(step, samples, classes)
		moved := pair(slices.Clone(b.Heads[0].Teacher), b.Heads[0].Student)
		for i := range moved.Heads[0].Teacher {
			moved.Heads[0].Teacher[i] = 100 + 7*moved.Heads[0].Teacher[i]
		}
		r := must(l.Lane(0, samples).Evaluate(b, state, 0, alone))
		s := must(l.Lane(0, samples).Evaluate(moved, other, 0, alone))
		within(t, "loss", []float64{s.Loss}, []float64{r.Loss}, 1e-9, 0)
		within(t, "gradient", s.Gradients[0], r.Gradients[0], 1e-7, 1e-12)
		if step == 0 { // sum over samples of the standardised teacher is 0: the gradient's is that of the student
			for j := range classes {
				got, want := 0.0, 0.0
				for n := range samples {
					got += r.Gradients[0][n*classes+j]
					want += 2 * b.Heads[0].Student[n*classes+j] / (samples * classes)
				}
				within(t, "sum of gradients", []float64{got}, []float64{want}, 1e-9, 1e-12)
			}
		}
		state, other = r.State, s.State
	}
	// A channel that hardly changes is divided by 1/32 of the mean deviation, not by its own; one beyond 2^16 is refused.
	b := randomBatch(9, samples, classes)
	for n := range samples {
		b.Heads[0].Teacher[n*classes] = 1e-9 * float64(n%2)
		b.Heads[0].Student[n*classes] = 0
	}
	r := must(l.Lane(0, samples).Evaluate(b, must(l.NewState()), 0, alone))
	for n := range samples {
		if g := math.Abs(r.Gradients[0][n*classes]); g > 1e-7 {
			t.Fatalf("gradient %g of a channel that hardly changes", g)
		}
	}
	b.Heads[0].Teacher[7*classes] = 1<<16 + 1
	if _, err := l.Lane(0, samples).Evaluate(b, must(l.NewState()), 0, alone); !errors.Is(err, loss.ErrNonFinite) {
		t.Errorf("a feature of 2^16 + 1: %v", err)
	}

	mean := state.Moments[0].Mean[0]
	want := 0.0
	for step := range uint64(4) {
		for n := range samples {
			want += randomBatch(step, samples, classes).Heads[0].Teacher[n*classes] / (4 * samples)
		}
	}
	within(t, "mean of the first four batches", []float64{mean}, []float64{want}, 1e-12, 0)
}
