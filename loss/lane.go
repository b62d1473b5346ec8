package loss

import (
	"errors"
	"fmt"
)

// What Evaluate returns, in every lane of the global batch, when one lane's input is bad.
var (
	ErrNonFinite = errors.New("features are not finite")
	ErrLabel     = errors.New("label out of range")
	ErrBatch     = errors.New("batch has the wrong shape")

	// ErrElsewhere says that it was another lane whose input is bad.
	ErrElsewhere = errors.New("in another lane")
)

// Lane evaluates a Loss for one lane of the global batch. It is not for concurrent use; the lanes of a batch are
// evaluated at the same time, each in a goroutine of its own, or their Reduce could not return.
type Lane struct {
	loss   *Loss
	n      int
	views  []view
	sums   []int64
	joint  *joint  // nil without a teacher
	mutual *mutual // nil without a mutual information
	result Result

	u, scaled []float64 // scratch, [C]
}

// view holds the softmaxes of one pair of temperatures, [n, C] each.
type view struct{ t, logT, s, logS []float64 }

// Lane returns the workspace of a lane with n samples, 0 or more.
func (l *Loss) Lane(n int) *Lane {
	n = max(n, 0)
	size := n * l.classes
	lane := &Lane{loss: l, n: n, sums: make([]int64, l.layout.size), u: make([]float64, l.classes)}
	lane.scaled = make([]float64, l.classes)
	for _, v := range l.views {
		w := view{s: make([]float64, size), logS: make([]float64, size)}
		if v.teacher > 0 {
			w.t, w.logT = make([]float64, size), make([]float64, size)
		}
		lane.views = append(lane.views, w)
	}
	lane.result.Terms = make([]TermValue, len(l.parts))
	lane.result.Gradient = make([]float64, size)
	if l.teacher {
		lane.joint = newJoint(l.classes)
	}
	if l.mutual != nil {
		lane.mutual = newMutual(l.mutual, lane.joint, l.classes, n)
		lane.result.Joint = lane.mutual.joint.p
	}
	return lane
}

// Evaluate computes the loss of the global batch and its gradient with respect to this lane's student features.
//
// Prior is that of the step, and nil without a prior mutual information. A natural update of it happens before the loss
// and the gradient are taken, the other updates after. Progress is the share of all steps that is done, in [0, 1]; the
// KL start depends on it.
//
// If any lane's batch holds a value that is not finite, a label out of range or slices of a wrong length, every lane
// returns an error that wraps ErrNonFinite, ErrLabel or ErrBatch after the first Reduce; that of the lane in question
// says where, those of the others wrap ErrElsewhere too. An error of Reduce is wrapped. The prior is then as it was, and the step can be tried again.
func (l *Lane) Evaluate(b Batch, prior *Prior, progress float64, reduce Reduce) (*Result, error) {
	if err := l.loss.checkShared(prior, progress); err != nil {
		return nil, err
	}
	clear(l.sums)
	l.sums[l.loss.layout.samples] = int64(l.n)
	fault := l.check(b)
	if fault == nil {
		l.distributions(b)
		l.count(b)
	}
	if err := reduce(l.sums); err != nil {
		return nil, fmt.Errorf("reduce the loss's statistics: %w", err)
	}
	if err := l.agree(fault); err != nil {
		return nil, err
	}
	l.readTerms(progress)
	if l.joint != nil {
		l.joint.read(l.sums[l.loss.layout.joint:])
	}
	if l.mutual != nil {
		if err := l.evaluateMutual(prior, reduce); err != nil {
			return nil, err
		}
	}
	l.result.Loss = 0
	for _, t := range l.result.Terms {
		l.result.Loss += float64(t.Weight * t.Value)
	}
	l.gradient(b)
	if l.mutual != nil {
		l.updatePrior()
	}
	l.health()
	return &l.result, nil
}

// check finds what is wrong with this lane's batch, and marks it in the sums.
func (l *Lane) check(b Batch) error {
	at, size := l.loss.layout, l.n*l.loss.classes
	if len(b.Student) != size {
		l.sums[at.badBatches] = 1
		return fmt.Errorf("%d student features, %d samples of %d classes need %d: %w",
			len(b.Student), l.n, l.loss.classes, size, ErrBatch)
	}
	err := l.checkFinite("student", b.Student)
	if l.loss.teacher {
		if len(b.Teacher) != size {
			l.sums[at.badBatches] = 1
			return fmt.Errorf("%d teacher features, %d samples of %d classes need %d: %w",
				len(b.Teacher), l.n, l.loss.classes, size, ErrBatch)
		}
		err = errors.Join(err, l.checkFinite("teacher", b.Teacher))
	}
	if l.loss.labels {
		if len(b.Labels) != l.n {
			l.sums[at.badBatches] = 1
			return fmt.Errorf("%d labels for %d samples: %w", len(b.Labels), l.n, ErrBatch)
		}
		err = errors.Join(err, l.checkLabels(b.Labels))
	}
	return err
}

func (l *Lane) checkFinite(side string, f []float64) error {
	var err error
	for i, v := range f {
		if finite(v) {
			continue
		}
		l.sums[l.loss.layout.nonFinite]++
		if err == nil {
			n, c := i/l.loss.classes, i%l.loss.classes
			err = fmt.Errorf("sample %d of this lane: the %s's feature %d is %g: %w", n, side, c, v, ErrNonFinite)
		}
	}
	return err
}

func (l *Lane) checkLabels(labels []int) error {
	var err error
	for n, y := range labels {
		if y >= -1 && y < l.loss.classes {
			continue
		}
		l.sums[l.loss.layout.badLabels]++
		if err == nil {
			err = fmt.Errorf("sample %d of this lane: label %d of %d classes (-1 means none): %w",
				n, y, l.loss.classes, ErrLabel)
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
