package loss

import (
	"errors"
	"fmt"
	"math"
)

// What Evaluate returns, in every lane of the global batch, when one lane's input is bad.
var (
	ErrNonFinite = errors.New("features are not finite, or too large to be standardised")
	ErrLabel     = errors.New("label out of range")
	ErrBatch     = errors.New("batch has the wrong shape")

	// ErrElsewhere says that it was another lane whose input is bad.
	ErrElsewhere = errors.New("in another lane")
)

// SampleError says which sample of a lane's batch is bad.
type SampleError struct {
	Sample int // position in the lane's batch
	What   string
	Err    error // ErrNonFinite or ErrLabel
}

// Error names sample and fault.
func (e *SampleError) Error() string {
	return fmt.Sprintf("sample %d of this lane: %s: %v", e.Sample, e.What, e.Err)
}

// Unwrap gives the sentinel.
func (e *SampleError) Unwrap() error { return e.Err }

// Lane evaluates a Loss for one lane of the global batch. It is not for concurrent use; the lanes of a batch are
// evaluated at the same time, each in a goroutine of its own, or their Reduce could not return.
type Lane struct {
	loss     *Loss
	first, n int
	features []features // by source
	views    []view
	sums     []int64
	products []*joint  // by feature group of the main view: the product joint; nil if it is not formed
	mutuals  []*mutual // by feature group; nil without a mutual information
	mixed    []int64   // what the mixture adds over lanes
	result   Result

	u, scaled  []float64 // scratch, [largest width]
	scaledRows []float64 // scratch, [n, Cs]
}

// view holds the softmaxes of one source at a pair of temperatures, [n, groups * width] each.
type view struct{ t, logT, s, logS []float64 }

// Lane returns the workspace of a lane with n samples, 0 or more, which are those from number first of the global batch.
func (l *Loss) Lane(first, n int) *Lane {
	n = max(n, 0)
	lane := &Lane{loss: l, first: first, n: n, sums: make([]int64, l.layout.size)}
	for _, h := range l.heads {
		lane.result.Gradients = append(lane.result.Gradients, make([]float64, n*h.Student))
	}
	widest := 0
	for _, x := range l.sources {
		lane.features = append(lane.features, newFeatures(x, n, lane.result.Gradients[x.head]))
		widest = max(widest, x.student, x.teacher)
	}
	lane.u, lane.scaled = make([]float64, widest), make([]float64, widest)
	for _, v := range l.views {
		x := l.sources[v.source]
		size := n * x.groups * x.student
		w := view{s: make([]float64, size), logS: make([]float64, size)}
		if x.teacher > 0 {
			size = n * x.groups * x.teacher
			w.t, w.logT = make([]float64, size), make([]float64, size)
		}
		lane.views = append(lane.views, w)
	}
	lane.result.Terms = make([]TermValue, len(l.parts))
	lane.addJoints()
	return lane
}

// addJoints makes what is there for each feature group of the main view.
func (l *Lane) addJoints() {
	x := l.loss.mainSource()
	if !l.loss.joint {
		return
	}
	size := x.teacher * x.student
	l.scaledRows = make([]float64, l.n*x.student)
	if l.loss.posterior() == PosteriorMixture {
		l.mixed = make([]int64, x.groups*size+2)
	}
	for g := range x.groups {
		product := newJoint(x.teacher, x.student)
		l.products = append(l.products, product)
		if l.loss.mutual == nil {
			continue
		}
		m := newMutual(l.loss.mutual, product, l.n)
		if l.mixed != nil {
			m.sums = l.mixed[g*size:][:size]
		}
		l.mutuals = append(l.mutuals, m)
		l.result.Joints = append(l.result.Joints, m.joint.p)
		l.result.GradM, l.result.GradD = append(l.result.GradM, m.gradM), append(l.result.GradD, m.gradD)
	}
}

// Evaluate computes the loss of the global batch and its gradient with respect to this lane's student features.
//
// State is that of the step, of [Loss.NewState] before the first one. A natural update of the prior happens before the
// loss and the gradient are taken, the other updates after. Features are standardised with the moments of the steps
// before; at the first step, with those of the batch itself. Progress is the share of all steps that is done, in [0, 1];
// ramps and the KL start depend on it.
//
// If any lane's batch holds a value that is not finite, a label out of range or slices of a wrong length, every lane
// returns an error that wraps ErrNonFinite, ErrLabel or ErrBatch after the same Reduce; that of the lane in question
// says where, as a *SampleError if it is a sample, those of the others wrap ErrElsewhere too. An error of Reduce is
// wrapped. The state is then as it was, and the step can be tried again.
func (l *Lane) Evaluate(b Batch, state *State, progress float64, reduce Reduce) (*Result, error) {
	if !finite(progress) {
		return nil, fmt.Errorf("progress is %g: give the share of all steps that is done, in [0, 1]", progress)
	}
	if err := state.check(l.loss); err != nil {
		return nil, err
	}
	clear(l.sums)
	l.sums[l.loss.layout.samples] = int64(l.n)
	fault := l.check(b)
	moments, err := l.moments(b, state, fault == nil, reduce)
	if err != nil {
		return nil, err
	}
	if fault == nil {
		l.distributions(b, moments)
		l.count(b)
	}
	if err := reduce(l.sums); err != nil {
		return nil, fmt.Errorf("reduce the loss's statistics: %w", err)
	}
	if err := l.agree(fault); err != nil {
		return nil, err
	}
	next := &State{Moments: l.nextMoments(state, moments)}
	l.readTerms(progress)
	x := l.loss.mainSource()
	for g, p := range l.products {
		size := x.teacher * x.student
		p.read(l.sums[l.loss.layout.joint+g*size:][:size])
	}
	if l.mutuals != nil {
		if err := l.evaluateMutual(state, reduce); err != nil {
			return nil, err
		}
	}
	l.result.Loss = 0
	for _, t := range l.result.Terms {
		l.result.Loss += float64(t.Weight * t.Value)
	}
	l.gradient(b)
	if l.mutuals != nil {
		next.Priors = make([]*Prior, len(l.mutuals))
	}
	for g, m := range l.mutuals {
		m.updatePrior()
		next.Priors[g] = m.prior
	}
	l.result.State = next
	l.health()
	return &l.result, nil
}

// moments are those that the step's features are standardised with. A lane whose batch is not usable takes part in the
// first step's sum with nothing; the fault comes out with the sums that follow.
func (l *Lane) moments(b Batch, state *State, usable bool, reduce Reduce) ([]*Moments, error) {
	at := l.loss.layout
	if at.momentsSize == 0 {
		return state.Moments, nil
	}
	sums := l.sums[at.size-at.momentsSize:]
	first := false
	for head, p := range at.moments {
		if p < 0 {
			continue
		}
		first = first || state.Moments[head].Steps == 0
		if usable {
			l.loss.unit.countMoments(l.sums[p:], b.Heads[head].Teacher, l.loss.heads[head].Teacher)
		}
	}
	if !first {
		return state.Moments, nil
	}
	if err := reduce(sums); err != nil {
		return nil, fmt.Errorf("reduce the teacher's moments: %w", err)
	}
	moments := l.readMoments(state.Moments)
	clear(sums)
	return moments, nil
}

// nextMoments are those for the next step.
func (l *Lane) nextMoments(state *State, used []*Moments) []*Moments {
	if l.loss.layout.momentsSize == 0 {
		return used
	}
	for head, p := range l.loss.layout.moments {
		if p >= 0 && state.Moments[head].Steps == 0 {
			return used // made of this batch already
		}
	}
	return l.readMoments(state.Moments)
}

// readMoments takes the sums into the moments.
func (l *Lane) readMoments(m []*Moments) []*Moments {
	next := make([]*Moments, len(m))
	for head, p := range l.loss.layout.moments {
		if p >= 0 {
			next[head] = m[head].followed(l.sums[p:], l.loss.unit, float64(l.loss.samples))
		}
	}
	return next
}

// check finds what is wrong with this lane's batch, and marks it in the sums.
func (l *Lane) check(b Batch) error {
	at := l.loss.layout
	if err := l.checkShapes(b); err != nil {
		l.sums[at.badBatches] = 1
		return err
	}
	var err error
	for _, x := range l.loss.sources {
		p := b.Heads[x.head]
		h := l.loss.heads[x.head]
		err = errors.Join(err, l.checkFinite("student", p.Student, h.Student, math.MaxFloat64))
		if x.teacher > 0 {
			bound := math.MaxFloat64
			if x.standardize {
				bound = maxMoment
			}
			err = errors.Join(err, l.checkFinite("teacher", p.Teacher, h.Teacher, bound))
		}
		if err != nil {
			break
		}
	}
	if l.loss.labels {
		err = errors.Join(err, l.checkLabels(b.Labels))
	}
	return err
}

func (l *Lane) checkShapes(b Batch) error {
	if len(b.Heads) != len(l.loss.heads) {
		return fmt.Errorf("%d heads, the loss has %d: %w", len(b.Heads), len(l.loss.heads), ErrBatch)
	}
	for _, x := range l.loss.sources {
		p, h := b.Heads[x.head], l.loss.heads[x.head]
		if len(p.Student) != l.n*h.Student {
			return fmt.Errorf("%d student features, %d samples of %d classes need %d: %w",
				len(p.Student), l.n, h.Student, l.n*h.Student, ErrBatch)
		}
		if x.teacher > 0 && len(p.Teacher) != l.n*h.Teacher {
			return fmt.Errorf("%d teacher features, %d samples of %d classes need %d: %w",
				len(p.Teacher), l.n, h.Teacher, l.n*h.Teacher, ErrBatch)
		}
	}
	if l.loss.labels && len(b.Labels) != l.n {
		return fmt.Errorf("%d labels for %d samples: %w", len(b.Labels), l.n, ErrBatch)
	}
	return nil
}

// checkFinite looks for values beyond a bound, NaN included.
func (l *Lane) checkFinite(side string, f []float64, width int, bound float64) error {
	var err error
	for i, v := range f {
		if math.Abs(v) <= bound {
			continue
		}
		l.sums[l.loss.layout.nonFinite]++
		if err == nil {
			err = &SampleError{i / width, fmt.Sprintf("the %s's feature %d is %g", side, i%width, v), ErrNonFinite}
		}
	}
	return err
}

func (l *Lane) checkLabels(labels []int) error {
	classes := math.MaxInt
	for _, p := range l.loss.parts {
		if p.kind == kindCross {
			classes = min(classes, l.loss.sources[p.source].student)
		}
	}
	var err error
	for n, y := range labels {
		if y >= -1 && y < classes {
			continue
		}
		l.sums[l.loss.layout.badLabels]++
		if err == nil {
			err = &SampleError{n, fmt.Sprintf("label %d of %d classes (-1 means none)", y, classes), ErrLabel}
		}
	}
	return err
}

// elsewhere is the error of a lane that is not at fault.
func elsewhere(format string, count int64, fault error) error {
	return fmt.Errorf("%w: "+format, ErrElsewhere, count, fault)
}

// agree returns an error in every lane if there was a fault in any, this lane's own if it has one.
func (l *Lane) agree(fault error) error {
	at := l.loss.layout
	switch {
	case fault != nil:
		return fault
	case l.sums[at.badBatches] != 0:
		return elsewhere("%d lanes: %w", l.sums[at.badBatches], ErrBatch)
	case l.sums[at.nonFinite] != 0:
		return elsewhere("%d values: %w", l.sums[at.nonFinite], ErrNonFinite)
	case l.sums[at.badLabels] != 0:
		return elsewhere("%d labels: %w", l.sums[at.badLabels], ErrLabel)
	case l.sums[at.samples] != int64(l.loss.samples):
		return fmt.Errorf("the lanes hold %d samples, the global batch has %d: %w",
			l.sums[at.samples], l.loss.samples, ErrBatch)
	}
	return nil
}
