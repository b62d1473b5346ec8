package plain

import (
	"fmt"
	"math"

	"pupil/internal/random"
	"pupil/loss"
)

// Result is what one evaluation yields.
type Result struct {
	Loss              float64
	Terms             []loss.TermValue
	Gradients         [][]float64 // by head, [N, Cs], of Loss with respect to the student's features
	Joints            [][]float64 // by feature group, [Ct, Cs], of the mutual information; nil without
	MutualInformation float64     // of Joints, nats, the mean over feature groups
	State             *loss.State // after the step's update
	GradM, GradD      [][]float64 // by feature group, [G, Cs]
}

// matrix is a list of rows.
type matrix [][]float64

func newMatrix(rows, columns int) matrix {
	m := make(matrix, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

func rows(flat []float64, columns int) matrix {
	m := newMatrix(len(flat)/columns, columns)
	for i := range m {
		copy(m[i], flat[i*columns:])
	}
	return m
}

func (m matrix) flat() []float64 {
	var out []float64
	for _, row := range m {
		out = append(out, row...)
	}
	return out
}

// columns picks columns of a matrix.
func (m matrix) columns(which []int) matrix {
	out := newMatrix(len(m), len(which))
	for n, row := range m {
		for j, c := range which {
			out[n][j] = row[c]
		}
	}
	return out
}

// Job is what does not change from step to step: the arguments of loss.New but for the number of samples.
type Job struct {
	Terms []loss.Config
	Heads []loss.Head
	Seed  uint64
}

// Evaluate computes the weighted sum of the terms over a whole batch, as loss.Lane.Evaluate does for a lane: with the
// same meaning of terms, state and progress. Job, batch and state must be valid.
func Evaluate(j Job, b loss.Batch, state *loss.State, progress float64) (*Result, error) {
	r := &Result{State: &loss.State{Moments: make([]*loss.Moments, len(j.Heads))}}
	gradients := make([]matrix, len(j.Heads))
	for i, h := range j.Heads {
		gradients[i] = newMatrix(len(b.Heads[i].Student)/h.Student, h.Student)
	}
	for i, c := range j.Terms {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("loss term %d (%s): %w", i+1, c.Name, err)
		}
		h := j.Heads[c.Head]
		e := evaluation{config: c, result: r, progress: progress, labels: b.Labels, gradient: gradients[c.Head]}
		e.student = rows(b.Heads[c.Head].Student, h.Student)
		if c.Name != loss.CrossEntropy {
			e.teacher = rows(b.Heads[c.Head].Teacher, h.Teacher)
			if c.Standardize {
				e.standardize(state)
			}
		}
		e.run(j.groups(c, h), state)
	}
	for _, g := range gradients {
		r.Gradients = append(r.Gradients, g.flat())
	}
	return r, nil
}

// channels are those of a feature group, of teacher and student.
type channels struct{ teacher, student []int }

// groups cuts a term's channels.
func (j Job) groups(c loss.Config, h loss.Head) []channels {
	count := 1
	if c.Name == loss.PriorMutualInformation || c.Name == loss.KL {
		count = c.FeatureGroups
	}
	all := func(n int) []int {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		return order
	}
	teacher, student := all(h.Teacher), all(h.Student)
	if count > 1 && c.FeatureOrder == loss.OrderPermuted {
		teacher = random.New(random.PurposeChannels, j.Seed, uint64(c.Head)).Perm(h.Student)
		student = teacher
	}
	groups := make([]channels, count)
	for g := range groups {
		t, s := h.Teacher/count, h.Student/count
		groups[g] = channels{teacher[g*t : (g+1)*t], student[g*s : (g+1)*s]}
	}
	return groups
}

// evaluation is that of one term.
type evaluation struct {
	config           loss.Config
	teacher, student matrix // [N, Ct], [N, Cs]
	labels           []int
	progress         float64
	gradient         matrix // [N, Cs], of its head
	result           *Result
}

// standardize brings the teacher's channels to mean 0 and deviation 1, and moves the moments.
func (e *evaluation) standardize(state *loss.State) {
	old := state.Moments[e.config.Head]
	next := &loss.Moments{Steps: old.Steps + 1}
	share := max(1/float64(next.Steps), 0.01)
	used := old
	if old.Steps == 0 {
		used = next
	}
	for j := range e.teacher[0] {
		mean, square := 0.0, 0.0
		for _, row := range e.teacher {
			mean += row[j] / float64(len(e.teacher))
			square += row[j] * row[j] / float64(len(e.teacher))
		}
		next.Mean = append(next.Mean, (1-share)*old.Mean[j]+share*mean)
		next.Square = append(next.Square, (1-share)*old.Square[j]+share*square)
	}
	var deviations []float64
	total := 0.0
	for j, mean := range used.Mean {
		variance := max(0, used.Square[j]-mean*mean)
		deviations = append(deviations, math.Sqrt(variance))
		total += variance / float64(len(used.Mean))
	}
	for j, d := range deviations {
		for _, row := range e.teacher {
			row[j] = (row[j] - used.Mean[j]) / max(d, math.Sqrt(total)/32, 1e-6)
		}
	}
	e.result.State.Moments[e.config.Head] = next
}

// add enters a value, the mean over groups, and its gradients with respect to the features.
func (e *evaluation) add(name string, weight float64, groups []channels, values []float64, gradients []matrix) {
	mean := 0.0
	for g, v := range values {
		mean += v / float64(len(values))
		for n, row := range gradients[g] {
			for j, x := range row {
				e.gradient[n][groups[g].student[j]] += weight * x / float64(len(values))
			}
		}
	}
	e.result.Terms = append(e.result.Terms, loss.TermValue{Name: name, Weight: weight, Value: mean})
	e.result.Loss += weight * mean
}

// each evaluates something in every group.
func each(groups []channels, f func(g int) (float64, matrix)) (values []float64, gradients []matrix) {
	for g := range groups {
		v, m := f(g)
		values, gradients = append(values, v), append(gradients, m)
	}
	return values, gradients
}

func (e *evaluation) run(groups []channels, state *loss.State) {
	c := e.config
	weight := c.Weight * ramp(c.Ramp, e.progress)
	kl := func(g int) (float64, matrix) {
		t, logT := softmax(e.teacher.columns(groups[g].teacher), c.TeacherTemperature)
		s, logS := softmax(e.student.columns(groups[g].student), c.StudentTemperature)
		v, m := divergence(t, logT, s, logS)
		return v, scale(m, 1/c.StudentTemperature)
	}
	var values []float64
	var gradients []matrix
	switch c.Name {
	case loss.KL:
		values, gradients = each(groups, kl)
	case loss.CrossEntropy:
		values, gradients = each(groups, func(int) (float64, matrix) {
			s, logS := softmax(e.student, c.StudentTemperature)
			v, m := crossEntropy(s, logS, e.labels, c.LabelSmoothing)
			return v, scale(m, 1/c.StudentTemperature)
		})
	case loss.L2:
		values, gradients = each(groups, func(int) (float64, matrix) { return l2(e.teacher, e.student) })
	case loss.Cosine:
		values, gradients = each(groups, func(int) (float64, matrix) { return cosine(e.teacher, e.student) })
	default:
		values, gradients = each(groups, func(g int) (float64, matrix) { return e.mutual(groups, g, weight, state) })
		e.add(c.Name, weight, groups, values, gradients)
		if c.Start.KL > 0 {
			values, gradients = each(groups, kl)
			e.add("start_kl", weight*c.Start.KL*fall(c.Start, e.progress), groups, values, gradients)
		}
		return
	}
	e.add(c.Name, weight, groups, values, gradients)
}

// mutual is the prior mutual information of one group.
func (e *evaluation) mutual(groups []channels, g int, weight float64, state *loss.State) (float64, matrix) {
	c, r := e.config, e.result
	t, _ := softmax(e.teacher.columns(groups[g].teacher), c.TeacherTemperature)
	s, _ := softmax(e.student.columns(groups[g].student), c.StudentTemperature)
	m := evaluateMutual(c, t, s, state.Priors[g])
	r.Joints = append(r.Joints, m.joint.flat())
	r.MutualInformation += information(m.joint) / float64(len(groups))
	gradM, gradD, prior := m.finish(c, weight/float64(len(groups)))
	r.GradM, r.GradD = append(r.GradM, gradM), append(r.GradD, gradD)
	r.State.Priors = append(r.State.Priors, prior)
	return m.value, scale(backSoftmax(m.gradS, s), 1/c.StudentTemperature)
}

func scale(m matrix, factor float64) matrix {
	for _, row := range m {
		for j := range row {
			row[j] *= factor
		}
	}
	return m
}

func ramp(r loss.Ramp, progress float64) float64 {
	share := min(max((progress-r.Begin)/(r.End-r.Begin), 0), 1)
	return (1-share)*r.From + share*r.To
}

func fall(s loss.Start, progress float64) float64 {
	if s.Hold {
		return 1
	}
	if s.Share == 0 {
		return 0
	}
	return max(0, 1-progress/s.Share)
}
