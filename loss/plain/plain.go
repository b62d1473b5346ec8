package plain

import (
	"fmt"

	"pupil/loss"
)

// Result is what one evaluation yields.
type Result struct {
	Loss              float64
	Terms             []loss.TermValue
	Gradient          []float64   // [N, C], of Loss with respect to the student's features
	Joint             []float64   // [C, C], of the mutual information; nil without
	MutualInformation float64     // of Joint, nats
	Prior             *loss.Prior // after the step's update; nil without a mutual information
	GradM, GradD      []float64   // [G, C]
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

// Evaluate computes the weighted sum of the terms over a whole batch, as loss.Lane.Evaluate does for a lane: with the
// same meaning of terms, prior and progress. Terms, batch and prior must be valid.
func Evaluate(terms []loss.Config, classes int, b loss.Batch, prior *loss.Prior, progress float64) (*Result, error) {
	r := &Result{}
	student := rows(b.Student, classes)
	gradient := newMatrix(len(student), classes)
	add := func(name string, weight, temperature, value float64, g matrix) { // g: with respect to f_S / temperature
		r.Terms = append(r.Terms, loss.TermValue{Name: name, Weight: weight, Value: value})
		r.Loss += weight * value
		for n, row := range g {
			for j, v := range row {
				gradient[n][j] += weight / temperature * v
			}
		}
	}
	for i, c := range terms {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("loss term %d (%s): %w", i+1, c.Name, err)
		}
		s, logS := softmax(student, c.StudentTemperature)
		if c.Name == loss.CrossEntropy {
			value, g := crossEntropy(s, logS, b.Labels, c.LabelSmoothing)
			add(c.Name, c.Weight, c.StudentTemperature, value, g)
			continue
		}
		t, logT := softmax(rows(b.Teacher, classes), c.TeacherTemperature)
		if c.Name == loss.KL {
			value, g := divergence(t, logT, s, logS)
			add(c.Name, c.Weight, c.StudentTemperature, value, g)
			continue
		}
		m := evaluateMutual(c, t, s, prior)
		add(c.Name, c.Weight, c.StudentTemperature, m.value, backSoftmax(m.gradS, s))
		r.Joint, r.MutualInformation = m.joint.flat(), information(m.joint)
		r.GradM, r.GradD, r.Prior = m.finish(c)
		if c.Start.KL > 0 {
			value, g := divergence(t, logT, s, logS)
			add("start_kl", c.Weight*c.Start.KL*fall(c.Start, progress), c.StudentTemperature, value, g)
		}
	}
	r.Gradient = gradient.flat()
	return r, nil
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
