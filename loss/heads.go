package loss

import (
	"slices"

	"pupil/internal/random"
)

// Head is a pair of features that terms compare, by its widths: logits, or pooled features, of teacher and student.
type Head struct {
	Teacher int // width of the teacher's features; 0: there are none, and only cross_entropy can use the head
	Student int // width of the student's features
}

// Pair is what one lane has of a head.
type Pair struct {
	Teacher []float64 // [n, Head.Teacher], row-major; not looked at by cross_entropy
	Student []float64 // [n, Head.Student], row-major
}

// Batch is one lane's part of the global batch.
type Batch struct {
	Heads  []Pair // in the order of New's heads; one that no term uses may be empty
	Labels []int  // [n], 0..C-1 or -1 for none; looked at by cross_entropy only
}

// source is a head as a term looks at it: standardised or not, its channels in some order, cut into groups.
type source struct {
	head        int
	standardize bool
	groups      int
	teacher     int   // width of a group; 0: no teacher
	student     int   // width of a group
	order       []int // the head's channel at each position, on both sides; nil: as they come
}

// source finds or adds the source of a term.
func (l *Loss) source(c Config) int {
	h := l.heads[c.Head]
	s := source{head: c.Head, standardize: c.Standardize, groups: 1, teacher: h.Teacher, student: h.Student}
	switch c.Name {
	case PriorMutualInformation, KL:
		s.groups = c.FeatureGroups
		s.teacher, s.student = h.Teacher/s.groups, h.Student/s.groups
		if c.FeatureOrder == OrderPermuted && s.groups > 1 {
			s.order = random.New(random.PurposeChannels, l.seed, uint64(c.Head)).Perm(h.Student)
		}
	case CrossEntropy:
		s.teacher, s.standardize = 0, false
	}
	for i, have := range l.sources {
		if s.same(have) {
			return i
		}
	}
	l.sources = append(l.sources, s)
	return len(l.sources) - 1
}

func (s source) same(t source) bool {
	return s.head == t.head && s.standardize == t.standardize && s.groups == t.groups && s.teacher == t.teacher &&
		slices.Equal(s.order, t.order)
}

// group is sample n's part of feature group g in v, [n, groups * width].
func (s source) group(v []float64, n, g, width int) []float64 {
	return v[(n*s.groups+g)*width:][:width]
}

// features are a source's features of one lane, and the gradient of the student's.
type features struct {
	teacher  []float64 // [n, groups * teacher]
	student  []float64 // [n, groups * student]
	gradient []float64 // [n, groups * student]

	ownTeacher, ownStudent []float64 // memory for those that are not the batch's own
}

func newFeatures(s source, n int, gradient []float64) features {
	f := features{gradient: gradient}
	if s.order != nil {
		f.ownStudent = make([]float64, n*s.groups*s.student)
		f.gradient = make([]float64, n*s.groups*s.student)
	}
	if s.teacher > 0 && (s.order != nil || s.standardize) {
		f.ownTeacher = make([]float64, n*s.groups*s.teacher)
	}
	return f
}

// read brings a head's features into the source's form. m is nil for a source that is not standardised.
func (f *features) read(s source, p Pair, m *Moments) {
	f.teacher, f.student = p.Teacher, p.Student
	if s.order != nil {
		f.student = f.ownStudent
		permute(f.student, p.Student, s.order)
	}
	if f.ownTeacher == nil {
		return
	}
	f.teacher = f.ownTeacher
	switch {
	case s.order != nil && m != nil:
		m.standardize(f.teacher, p.Teacher)
		shuffled := f.teacher
		for n, c := 0, len(s.order); n < len(shuffled); n += c {
			row := slices.Clone(shuffled[n : n+c])
			permute(shuffled[n:n+c], row, s.order)
		}
	case s.order != nil:
		permute(f.teacher, p.Teacher, s.order)
	default:
		m.standardize(f.teacher, p.Teacher)
	}
}

// permute writes row by row dst_j = src_order(j).
func permute(dst, src []float64, order []int) {
	for c := len(order); len(dst) > 0; dst, src = dst[c:], src[c:] {
		for j, from := range order {
			dst[j] = src[from]
		}
	}
}

// addBack adds the gradient of a source with an order of its own to the head's.
func (f *features) addBack(s source, head []float64) {
	for g, c := f.gradient, len(s.order); len(g) > 0; g, head = g[c:], head[c:] {
		for j, to := range s.order {
			head[to] += g[j]
		}
	}
}
