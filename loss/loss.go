package loss

import (
	"errors"
	"fmt"
)

// Reduce adds sums over all lanes of the global batch, in place: it blocks until every lane has called it. Sums belong
// to the lane and are not kept after the return.
type Reduce func(sums []int64) error

// Batch is one lane's part of the global batch.
type Batch struct {
	Teacher []float64 // [n, C], row-major, features before the softmax; not looked at by cross_entropy
	Student []float64 // [n, C], row-major, features before the softmax
	Labels  []int     // [n], 0..C-1 or -1 for none; looked at by cross_entropy only
}

// TermValue is the value of one term over the global batch. A term with a start has a second entry, "start_kl".
type TermValue struct {
	Name   string
	Weight float64 // in the sum, at this step
	Value  float64 // nats, before the weight
}

// Result is what one evaluation yields. Everything but Gradient is global, and has the same bits in every lane. The
// slices belong to the lane and hold until its next Evaluate; Prior is the caller's to keep.
type Result struct {
	Loss     float64     // sum of Weight * Value over Terms, nats
	Terms    []TermValue // in the order of the configuration
	Gradient []float64   // [n, C], of Loss with respect to this lane's student features
	Joint    []float64   // [C, C], row-major, P of the mutual information, teacher's class first; nil without it
	Prior    *Prior      // after this step's update; nil without a mutual information
	GradM    []float64   // [G, C], of Loss with respect to m, at the prior that Loss was evaluated with; nil without
	GradD    []float64   // [G, C], likewise with respect to d
	Health   Health
}

// Loss is a job's loss: a weighted sum of terms over a global batch. It is immutable.
type Loss struct {
	classes int
	samples int // of the global batch
	views   []temperatures
	parts   []part
	main    int     // the view that Health is about: the mutual information's, else the first with a teacher
	teacher bool    // a term looks at the teacher; the main view then has one, and there is a joint
	labels  bool    // a term looks at the labels
	mutual  *Config // nil without a prior mutual information
	layout  layout
	unit    fixed // bound 1 a sample
	wide    fixed // bound 32 a sample
}

// temperatures name one pair of softmaxes.
type temperatures struct{ teacher, student float64 }

// part is one entry of Result.Terms.
type part struct {
	Config
	kind kind
	view int
}

type kind int

const (
	kindMutual kind = iota
	kindStart
	kindKL
	kindCross
)

// New returns the loss of a global batch of a number of samples, with features of a number of classes. At most one of
// the terms may be a prior mutual information.
func New(terms []Config, classes, samples int) (*Loss, error) {
	if err := check(terms, classes, samples); err != nil {
		return nil, err
	}
	l := &Loss{classes: classes, samples: samples, unit: newFixed(samples, 0), wide: newFixed(samples, 5)}
	for _, c := range terms {
		switch c.Name {
		case PriorMutualInformation:
			l.mutual = &c
			l.main = l.add(c, kindMutual)
			if c.Start.KL > 0 {
				l.add(c, kindStart)
			}
		case KL:
			view := l.add(c, kindKL)
			if !l.teacher {
				l.main = view
			}
		case CrossEntropy:
			c.TeacherTemperature = 0 // no teacher
			l.add(c, kindCross)
			l.labels = true
		}
		l.teacher = l.teacher || c.Name != CrossEntropy
	}
	l.layout = l.plan()
	return l, nil
}

func check(terms []Config, classes, samples int) error {
	f := &faults{}
	if classes < 2 {
		f.add("features of %d classes: a distribution needs 2 or more", classes)
	}
	if samples < 1 || samples > maxGlobal {
		f.add("a global batch of %d samples: give 1 to %d", samples, maxGlobal)
	}
	if len(terms) == 0 {
		f.add("no terms: give at least one")
	}
	mutual := 0
	for i, c := range terms {
		if err := c.Validate(); err != nil {
			f.add("loss term %d (%s): %w", i+1, c.Name, err)
		}
		if c.Name == PriorMutualInformation {
			mutual++
			if err := checkMean(c.Prior.Mean, classes); err != nil {
				f.add("loss term %d (%s): %w", i+1, c.Name, err)
			}
		}
	}
	if mutual > 1 {
		f.add("%d terms are %s: a job has one prior, give at most one", mutual, PriorMutualInformation)
	}
	return errors.Join(*f...)
}

// add appends a part and returns its view.
func (l *Loss) add(c Config, k kind) int {
	want := temperatures{c.TeacherTemperature, c.StudentTemperature}
	view := len(l.views)
	for i, v := range l.views {
		if v == want {
			view = i
		}
	}
	if view == len(l.views) {
		l.views = append(l.views, want)
	}
	l.parts = append(l.parts, part{Config: c, kind: k, view: view})
	return view
}

// term is the part's entry in Result.Terms, without its value.
func (p part) term(progress float64) TermValue {
	if p.kind == kindStart {
		return TermValue{Name: "start_kl", Weight: p.Weight * p.Start.KL * p.Start.fall(progress)}
	}
	return TermValue{Name: p.Name, Weight: p.Weight}
}

// layout says where things are in the first vector that the lanes add; a position of -1 means it is not there.
type layout struct {
	size int

	// Faults, and the number of samples, so that all lanes find out together.
	nonFinite, badLabels, badBatches, samples int

	labelled, hits                int // samples with a label, and with the right class
	studentCounts, teacherCounts  int // [C], samples of which a class is the largest
	marginal, joint, logPosterior int // [C] of s without a teacher; [C, C]; [C, C] of t log s
	values                        int // two words for each part
}

func (l *Loss) plan() layout {
	var at layout
	c := l.classes
	take := func(n int, present bool) int {
		if !present {
			return -1
		}
		at.size += n
		return at.size - n
	}
	at.nonFinite, at.badLabels = take(1, true), take(1, true)
	at.badBatches, at.samples = take(1, true), take(1, true)
	at.labelled, at.hits = take(1, true), take(1, true)
	at.values = take(2*len(l.parts), true)
	at.studentCounts = take(c, true)
	at.teacherCounts = take(c, l.teacher)
	at.marginal = take(c, !l.teacher)
	at.joint = take(c*c, l.teacher)
	at.logPosterior = take(c*c, l.posterior() == PosteriorSample)
	return at
}

// posterior is the mutual information's, or "".
func (l *Loss) posterior() string {
	if l.mutual == nil {
		return ""
	}
	return l.mutual.Posterior
}

// ReduceSizes returns the lengths of the vectors that every lane's Evaluate gives to Reduce, in the order of the calls.
// A call ends after the first one if a lane holds bad values.
func (l *Loss) ReduceSizes() []int {
	sizes := []int{l.layout.size}
	if l.posterior() == PosteriorMixture {
		sizes = append(sizes, l.classes*l.classes+2)
	}
	return sizes
}

// checkShared looks at what is the same in every lane, so that all of them return alike before any Reduce.
func (l *Loss) checkShared(prior *Prior, progress float64) error {
	if !finite(progress) {
		return fmt.Errorf("progress is %g: give the share of all steps that is done, in [0, 1]", progress)
	}
	if l.mutual == nil {
		return nil
	}
	if prior == nil {
		return fmt.Errorf("no prior: a %s term needs one", PriorMutualInformation)
	}
	if prior.Classes != l.classes {
		return fmt.Errorf("prior over %d classes for features of %d", prior.Classes, l.classes)
	}
	return prior.Validate()
}
