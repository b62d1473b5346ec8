package wire

import (
	"errors"
	"fmt"
)

// Distributions are the distributions that a loss over a joint has made of a step's global batch, for people to look at.
// Rank 0 sends them now and then. Large ones are joined by blocks of neighbouring classes, whose probabilities are added.
type Distributions struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"` // committed

	Teacher int `json:"teacher"` // classes of a group of the teacher's features
	Student int `json:"student"` // and of the student's
	Rows    int `json:"rows"`    // of a joint: the teacher's classes, or blocks of them
	Columns int `json:"columns"` // the student's
	Total   int `json:"total"`   // feature groups of the loss, of which Groups are the first

	Groups []Distribution `json:"groups"`
}

// Distribution is that of a feature group.
type Distribution struct {
	Joint []float64 `json:"joint"` // [Rows, Columns], row-major; the sum is 1
	Prior []float64 `json:"prior"` // p(s), [Columns]
	// The prior's state, m, d and a of p(s) = softmax(sum w (m + d a)), each [G, Student] with G summands; empty when classes
	// are joined.
	M []float64 `json:"m"`
	D []float64 `json:"d"`
	A []float64 `json:"a"`
}

// The bounds of Distributions.
const (
	MaxBlocks        = 64      // rows, and columns
	MaxProbabilities = 1 << 14 // of all joints together
)

func (Distributions) kind() string { return "distributions" }

func (m Distributions) validate() error {
	errs := []error{
		CheckName("worker", m.Worker), CheckName("run", m.Run), checkStep("step", m.Step),
		checkRange("rows", m.Rows, 1, MaxBlocks), checkRange("columns", m.Columns, 1, MaxBlocks),
		checkStep("teacher", m.Teacher), checkStep("student", m.Student), checkStep("total", m.Total),
		checkRange("probabilities", len(m.Groups)*m.Rows*m.Columns, 1, MaxProbabilities),
	}
	for i, g := range m.Groups {
		if len(g.Joint) != m.Rows*m.Columns || len(g.Prior) != m.Columns {
			errs = append(errs, fmt.Errorf("group %d has %d values of a joint of %d x %d, and %d of the prior", i, len(g.Joint), m.Rows, m.Columns, len(g.Prior)))
		}
		if len(g.M) > MaxProbabilities || len(g.D) != len(g.M) || len(g.A) != len(g.M) {
			errs = append(errs, fmt.Errorf("group %d has %d, %d and %d values of m, d and a", i, len(g.M), len(g.D), len(g.A)))
		}
		for _, values := range [][]float64{g.Joint, g.Prior, g.M, g.D, g.A} {
			for _, v := range values {
				errs = append(errs, checkFinite("a value of a distribution", v))
			}
		}
	}
	return errors.Join(errs...)
}
