package loss

import (
	"errors"
	"fmt"
)

// Reduce adds sums over all lanes of the global batch, in place: it blocks until every lane has called it. Sums belong
// to the lane and are not kept after the return.
type Reduce func(sums []int64) error

// TermValue is the value of one term over the global batch. A term with a start has a second entry, "start_kl".
type TermValue struct {
	Name   string
	Weight float64 // in the sum, at this step
	Value  float64 // before the weight; nats, but for l2 and cosine
}

// Result is what one evaluation yields. Everything but Gradients is global, and has the same bits in every lane. The
// slices belong to the lane and hold until its next Evaluate; State is the caller's to keep.
type Result struct {
	Loss      float64     // sum of Weight * Value over Terms
	Terms     []TermValue // in the order of the configuration
	Gradients [][]float64 // by head, [n, Head.Student]: of Loss with respect to this lane's student features
	State     *State      // after this step's update

	// Of the prior mutual information, by feature group; nil without one.
	Joints       [][]float64 // [Ct, Cs], row-major, P, teacher's class first
	GradM, GradD [][]float64 // [G, Cs], of Loss with respect to m and d, at the prior that Loss was evaluated with

	Health Health
}

// Loss is a job's loss: a weighted sum of terms over a global batch. It is immutable.
type Loss struct {
	heads   []Head
	samples int // of the global batch
	seed    uint64
	sources []source
	views   []viewKey
	parts   []part
	main    int     // the view that Health is about
	labels  bool    // a term looks at the labels
	joint   bool    // the product joint of the main view is formed
	mutual  *Config // nil without a prior mutual information
	layout  layout
	unit    fixed // bound 1 a sample
	wide    fixed // bound 32 a sample
}

// viewKey names a source's distributions at a pair of temperatures; a teacher's of 0 stands for no teacher.
type viewKey struct {
	source           int
	teacher, student float64
}

// part is one entry of Result.Terms.
type part struct {
	Config
	kind   kind
	source int
	view   int // -1: none
}

type kind int

const (
	kindMutual kind = iota
	kindStart
	kindKL
	kindL2
	kindCosine
	kindCross
)

// maxHealthJoint bounds the joint that is formed for Health alone, in elements over all feature groups: a vector that
// every step adds over all lanes.
const maxHealthJoint = 1 << 16

// New returns the loss of a global batch of a number of samples, with terms that look at some heads. At most one of the
// terms may be a prior mutual information. The seed is the job's: the order of permuted channels and the prior's initial
// distribution are drawn from it.
func New(terms []Config, heads []Head, samples int, seed uint64) (*Loss, error) {
	if err := check(terms, heads, samples); err != nil {
		return nil, err
	}
	l := &Loss{heads: heads, samples: samples, seed: seed, unit: newFixed(samples, 0), wide: newFixed(samples, 5)}
	for _, c := range terms {
		switch c.Name {
		case PriorMutualInformation:
			l.mutual = &c
			l.add(c, kindMutual)
			if c.Start.KL > 0 {
				l.add(c, kindStart)
			}
		case KL:
			l.add(c, kindKL)
		case L2:
			l.add(c, kindL2)
		case Cosine:
			l.add(c, kindCosine)
		case CrossEntropy:
			c.TeacherTemperature = 0 // no teacher
			l.add(c, kindCross)
			l.labels = true
		}
	}
	l.chooseMain()
	l.layout = l.plan()
	return l, nil
}

func check(terms []Config, heads []Head, samples int) error {
	f := &faults{}
	if samples < 1 || samples > maxGlobal {
		f.add("a global batch of %d samples: give 1 to %d", samples, maxGlobal)
	}
	if len(terms) == 0 {
		f.add("no terms: give at least one")
	}
	mutual := 0
	for i, c := range terms {
		if err := errors.Join(c.Validate(), c.checkHead(heads)); err != nil {
			f.add("loss term %d (%s): %w", i+1, c.Name, err)
		}
		if c.Name == PriorMutualInformation {
			mutual++
		}
	}
	if mutual > 1 {
		f.add("%d terms are %s: a job has one prior, give at most one", mutual, PriorMutualInformation)
	}
	return errors.Join(*f...)
}

// checkHead looks at the term's head and what of it the term can compare.
func (c Config) checkHead(heads []Head) error {
	f := &faults{}
	if c.Head < 0 || c.Head >= len(heads) {
		return fmt.Errorf("head %d of %d", c.Head, len(heads))
	}
	h := heads[c.Head]
	groups := 1
	paired := false // classes are compared one by one
	switch c.Name {
	case PriorMutualInformation:
		groups = max(c.FeatureGroups, 1)
		paired = c.Joint == JointSymmetric || c.Start.KL > 0 || groups > 1
		if n := len(c.Prior.Mean); n > 0 && n != h.Student {
			f.add("prior.mean has %d values for %d classes: give one for each class", n, h.Student)
		}
	case KL:
		groups, paired = max(c.FeatureGroups, 1), true
	case L2, Cosine:
		paired = true
	case CrossEntropy:
		if h.Student < 2 {
			f.add("features of %d classes: a distribution needs 2 or more", h.Student)
		}
		return errors.Join(*f...)
	}
	switch {
	case h.Teacher < 1:
		f.add("the head has no teacher's features")
	case paired && h.Teacher != h.Student:
		f.add("it compares channel with channel, and the teacher has %d, the student %d: make them equal (only the product "+
			"joint without start.kl and feature groups takes any widths)", h.Teacher, h.Student)
	case h.Student%groups != 0:
		f.add("%d channels cannot be cut into %d feature groups of equal width", h.Student, groups)
	case (c.Name == PriorMutualInformation || c.Name == KL) && min(h.Teacher, h.Student)/groups < 2:
		f.add("features of %d classes: a distribution needs 2 or more", min(h.Teacher, h.Student)/groups)
	}
	return errors.Join(*f...)
}

// add appends a part.
func (l *Loss) add(c Config, k kind) {
	p := part{Config: c, kind: k, source: l.source(c), view: -1}
	if k != kindL2 && k != kindCosine {
		p.view = l.view(viewKey{p.source, c.TeacherTemperature, c.StudentTemperature})
	}
	l.parts = append(l.parts, p)
}

// view finds or adds a view.
func (l *Loss) view(v viewKey) int {
	for i, have := range l.views {
		if v == have {
			return i
		}
	}
	l.views = append(l.views, v)
	return len(l.views) - 1
}

// chooseMain picks the view of Health: that of the mutual information, else of the first kl, else the plain softmaxes
// of the first l2 or cosine, else of the first cross_entropy.
func (l *Loss) chooseMain() {
	best := l.parts[0]
	for _, p := range l.parts[1:] {
		if p.kind.rank() < best.kind.rank() {
			best = p
		}
	}
	l.main = best.view
	if best.view < 0 {
		l.main = l.view(viewKey{best.source, 1, 1})
	}
	x := l.sources[l.views[l.main].source]
	l.joint = l.mutual != nil || x.teacher > 0 && x.groups*x.teacher*x.student <= maxHealthJoint
}

// rank orders the kinds of terms by how much they say about Health.
func (k kind) rank() int {
	switch k {
	case kindMutual, kindStart:
		return 0
	case kindKL:
		return 1
	case kindL2, kindCosine:
		return 2
	}
	return 3
}

// mainSource is the source that Health is about.
func (l *Loss) mainSource() source { return l.sources[l.views[l.main].source] }

// MainHead is the head that Health is about.
func (l *Loss) MainHead() int { return l.mainSource().head }

// term is the part's entry in Result.Terms, without its value.
func (p part) term(progress float64) TermValue {
	weight := p.Weight * p.Ramp.at(progress)
	if p.kind == kindStart {
		return TermValue{Name: "start_kl", Weight: weight * p.Start.KL * p.Start.fall(progress)}
	}
	return TermValue{Name: p.Name, Weight: weight}
}

// layout says where things are in the first vector that the lanes add; a position of -1 means it is not there.
type layout struct {
	size int

	// Faults, and the number of samples, so that all lanes find out together.
	nonFinite, badLabels, badBatches, samples int

	labelled, hits                int   // samples with a label, and with the right class
	studentCounts, teacherCounts  int   // [F * C], samples of which a class is the largest of its group
	marginal, joint, logPosterior int   // [F * Cs] of s without a joint; [F, Ct, Cs]; [F, Ct, Cs] of t log s
	values                        int   // two words for each part
	moments                       []int // by head, [C, momentWords]
	momentsSize                   int   // of all heads, at the end of the vector
}

func (l *Loss) plan() layout {
	var at layout
	x := l.mainSource()
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
	at.studentCounts = take(x.groups*x.student, true)
	at.teacherCounts = take(x.groups*x.teacher, x.teacher > 0)
	at.marginal = take(x.groups*x.student, !l.joint)
	at.joint = take(x.groups*x.teacher*x.student, l.joint)
	at.logPosterior = take(x.groups*x.teacher*x.student, l.posterior() == PosteriorSample)
	begin := at.size
	for i, h := range l.heads {
		at.moments = append(at.moments, take(h.Teacher*momentWords, l.standardizes(i)))
	}
	at.momentsSize = at.size - begin
	return at
}

// standardizes says whether a term wants a head's teacher standardised.
func (l *Loss) standardizes(head int) bool {
	for _, x := range l.sources {
		if x.head == head && x.standardize {
			return true
		}
	}
	return false
}

// posterior is the mutual information's, or "".
func (l *Loss) posterior() string {
	if l.mutual == nil {
		return ""
	}
	return l.mutual.Posterior
}

// ReduceSizes returns the lengths of the vectors that every lane's Evaluate gives to Reduce, in the order of the calls,
// at the first step of a job or at a later one. A call ends earlier if a lane holds bad values.
func (l *Loss) ReduceSizes(first bool) []int {
	var sizes []int
	if first && l.layout.momentsSize > 0 {
		sizes = append(sizes, l.layout.momentsSize)
	}
	sizes = append(sizes, l.layout.size)
	if l.posterior() == PosteriorMixture {
		x := l.mainSource()
		sizes = append(sizes, x.groups*x.teacher*x.student+2)
	}
	return sizes
}
