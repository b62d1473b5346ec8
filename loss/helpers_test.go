package loss_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
)

// reference is one case of testdata/loss_cases.json, made by testdata/loss_reference.py with automatic differentiation.
type reference struct {
	Name         string
	N, C, Groups int
	Options      struct {
		Joint, Posterior   string
		Update             string  `json:"prior_update"`
		TeacherTemperature float64 `json:"teacher_temperature"`
		StudentTemperature float64 `json:"student_temperature"`
	}
	Teacher, Student, M, D, A, Weights []float64
	Joint, Prior                       []float64
	Loss                               float64
	MutualInformation                  float64   `json:"mutual_information"`
	GradStudent                        []float64 `json:"grad_student"`
	GradM                              []float64 `json:"grad_m"`
	GradD                              []float64 `json:"grad_d"`
	NaturalM                           []float64 `json:"natural_m"`
	NaturalD                           []float64 `json:"natural_d"`
}

func references(t testing.TB) []reference {
	t.Helper()
	data, err := os.ReadFile("testdata/loss_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []reference
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 56 {
		t.Fatalf("%d reference cases, want 56", len(cases))
	}
	return cases
}

// term is the case's configuration with an update of the prior; the start is cold.
func (r reference) term(update string, rate float64) loss.Config {
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Joint, c.Posterior = r.Options.Joint, r.Options.Posterior
	c.TeacherTemperature, c.StudentTemperature = r.Options.TeacherTemperature, r.Options.StudentTemperature
	c.Prior.Groups, c.Prior.Update, c.Prior.Rate = r.Groups, update, rate
	c.Start = loss.Start{}
	return c
}

func (r reference) batch() loss.Batch { return pair(r.Teacher, r.Student) }

func (r reference) prior() *loss.Prior {
	return &loss.Prior{
		Groups: r.Groups, Classes: r.C, W: slices.Clone(r.Weights),
		M: slices.Clone(r.M), D: slices.Clone(r.D), A: slices.Clone(r.A),
	}
}

// barrier adds the vectors of a number of lanes, each in a goroutine of its own.
type barrier struct {
	mu      sync.Mutex
	round   sync.Cond
	lanes   int
	waiting int
	rounds  int
	sum     []int64
	done    []int64
	lengths []int
}

func newBarrier(lanes int) *barrier {
	b := &barrier{lanes: lanes}
	b.round.L = &b.mu
	return b
}

func (b *barrier) reduce(v []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == 0 {
		b.sum = make([]int64, len(v))
		b.lengths = append(b.lengths, len(v))
	}
	if len(v) != len(b.sum) {
		return fmt.Errorf("a lane reduces %d values, another %d", len(v), len(b.sum))
	}
	for i, q := range v {
		b.sum[i] += q
	}
	b.waiting++
	if b.waiting == b.lanes {
		b.done, b.waiting = b.sum, 0
		b.rounds++
		b.round.Broadcast()
	} else {
		for mine := b.rounds; mine == b.rounds; {
			b.round.Wait()
		}
	}
	copy(v, b.done)
	return nil
}

// alone is the reducer of the only lane.
func alone([]int64) error { return nil }

// seed is that of the losses that single makes.
const seed = 1

// single is the loss of terms over one head of equal widths.
func single(terms []loss.Config, classes, samples int) (*loss.Loss, error) {
	return loss.New(terms, []loss.Head{{Teacher: classes, Student: classes}}, samples, seed)
}

// pair is a batch of one head.
func pair(teacher, student []float64) loss.Batch {
	return loss.Batch{Heads: []loss.Pair{{Teacher: teacher, Student: student}}}
}

// with is a state of one head with a prior or none.
func with(p *loss.Prior) *loss.State {
	s := &loss.State{Moments: make([]*loss.Moments, 1)}
	if p != nil {
		s.Priors = []*loss.Prior{p}
	}
	return s
}

// newPrior is the first prior of a loss.
func newPrior(c loss.PriorConfig, classes int, seed uint64) (*loss.Prior, error) {
	term := loss.DefaultConfig(loss.PriorMutualInformation)
	term.Prior = c
	l, err := loss.New([]loss.Config{term}, []loss.Head{{Teacher: classes, Student: classes}}, 1, seed)
	if err != nil {
		return nil, err
	}
	s, err := l.NewState()
	if err != nil {
		return nil, err
	}
	return s.Priors[0], nil
}

// part is samples from..to-1 of a batch.
func part(b loss.Batch, samples, from, to int) loss.Batch {
	var p loss.Batch
	cut := func(v []float64) []float64 {
		if v == nil {
			return nil
		}
		c := len(v) / samples
		return v[from*c : to*c]
	}
	for _, h := range b.Heads {
		p.Heads = append(p.Heads, loss.Pair{Teacher: cut(h.Teacher), Student: cut(h.Student)})
	}
	if b.Labels != nil {
		p.Labels = b.Labels[from:to]
	}
	return p
}

// run evaluates a batch that is cut into lanes of the given sizes, concurrently, and returns every lane's result.
func run(t testing.TB, l *loss.Loss, cut []int, b loss.Batch, s *loss.State, progress float64) ([]*loss.Result, []error) {
	t.Helper()
	results, errs := make([]*loss.Result, len(cut)), make([]error, len(cut))
	reducer := newBarrier(len(cut))
	samples := 0
	for _, n := range cut {
		samples += n
	}
	var wg sync.WaitGroup
	at := 0
	for i, n := range cut {
		mine := part(b, samples, at, at+n)
		lane := l.Lane(at, n)
		at += n
		wg.Go(func() { results[i], errs[i] = lane.Evaluate(mine, s, progress, reducer.reduce) })
	}
	wg.Wait()
	first := false
	for _, m := range s.Moments {
		first = first || m != nil && m.Steps == 0
	}
	if want := l.ReduceSizes(first); !slices.Contains(errsAsBool(errs), true) && !slices.Equal(reducer.lengths, want) {
		t.Errorf("reduced vectors of lengths %d, ReduceSizes says %d", reducer.lengths, want)
	}
	return results, errs
}

func errsAsBool(errs []error) []bool {
	out := make([]bool, len(errs))
	for i, err := range errs {
		out[i] = err != nil
	}
	return out
}

// evaluate runs a cut that must succeed, checks that all lanes agree to the bit on what is global, and returns the
// first lane's result with the gradients of the whole batch.
func evaluate(t testing.TB, l *loss.Loss, cut []int, b loss.Batch, s *loss.State, progress float64) *loss.Result {
	t.Helper()
	results, errs := run(t, l, cut, b, s, progress)
	gradients := make([][]float64, len(b.Heads))
	for i, r := range results {
		if errs[i] != nil {
			t.Fatalf("lane %d of %v: %v", i, cut, errs[i])
		}
		for head, g := range r.Gradients {
			gradients[head] = append(gradients[head], g...)
		}
		if i > 0 {
			sameGlobal(t, results[0], r)
		}
	}
	whole := *results[0]
	whole.Gradients = gradients
	return &whole
}

// sameGlobal compares, to the bit, everything but the gradient.
func sameGlobal(t testing.TB, a, b *loss.Result) {
	t.Helper()
	if d := globalBits(a); !slices.Equal(d, globalBits(b)) {
		t.Errorf("results differ in bits:\n%+v\n%+v", a, b)
	}
}

func globalBits(r *loss.Result) []uint64 {
	h := r.Health
	values := []float64{
		r.Loss, h.MutualInformation, h.JointInformation, h.LogClasses, h.StudentEntropy, h.ConditionalEntropy, h.Bias,
		float64(h.UsedClasses), float64(h.TeacherUsedClasses), h.PriorEntropy, h.Accuracy, float64(h.Labelled),
	}
	for _, t := range r.Terms {
		values = append(values, t.Weight, t.Value)
	}
	for g := range r.Joints {
		values = slices.Concat(values, r.Joints[g], r.GradM[g], r.GradD[g])
	}
	for _, p := range r.State.Priors {
		values = slices.Concat(values, p.M, p.D)
	}
	for _, m := range r.State.Moments {
		if m != nil {
			values = slices.Concat(append(values, float64(m.Steps)), m.Mean, m.Square)
		}
	}
	return bits(values)
}

// gradientBits are those of all heads.
func gradientBits(r *loss.Result) []uint64 { return bits(slices.Concat(r.Gradients...)) }

func bits(values []float64) []uint64 {
	out := make([]uint64, len(values))
	for i, v := range values {
		out[i] = math.Float64bits(v)
	}
	return out
}

// near compares within 1e-9 relative or 1e-12 absolute.
func near(t testing.TB, what string, got, want []float64) {
	t.Helper()
	within(t, what, got, want, 1e-9, 1e-12)
}

func within(t testing.TB, what string, got, want []float64, relative, absolute float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, -1
	for i := range got {
		excess := math.Abs(got[i]-want[i]) / (absolute + relative*math.Abs(want[i]))
		if !(excess <= 1) && !(excess < worst) {
			worst, at = excess, i
		}
	}
	if at >= 0 {
		t.Errorf("%s: element %d is %v, want %v", what, at, got[at], want[at])
	}
}

// normals draws n numbers of N(0, deviation^2).
func normals(s *random.Stream, n int, deviation float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = deviation * s.Normal()
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// probabilities is the prior's p(s).
func probabilities(p *loss.Prior) []float64 {
	out := make([]float64, p.Classes)
	p.LogProbabilities(out)
	for j, v := range out {
		out[j] = math.Exp(v)
	}
	return out
}
