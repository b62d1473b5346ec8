package loss

import (
	"fmt"
	"math"
)

// State is what a loss carries from step to step. [Lane.Evaluate] reads one and returns another; it never writes to one
// that it was given.
type State struct {
	Priors  []*Prior   // by feature group of the prior mutual information; nil without one
	Moments []*Moments // by head; nil for a head that no term standardises
}

// Moments are running statistics of a head's teacher features over all lanes, by channel.
type Moments struct {
	Steps  int       // global batches that they have seen; 0: they say nothing yet
	Mean   []float64 // [C]
	Square []float64 // [C], the mean of squares
}

// memory is the share of a new batch in the moments, once 1/memory batches have been seen; until then all count alike.
const memory = 0.01

// A channel's deviation is at least leastDeviation of the root mean square of all channels' deviations: one that hardly
// ever differs from its mean, such as a ReLU's that is nearly always 0, would otherwise have values in the thousands.
// minDeviation stands for that of a teacher that does not change at all.
const (
	leastDeviation = 1.0 / 32
	minDeviation   = 1e-6
)

// NewState returns the state before the first step.
func (l *Loss) NewState() (*State, error) {
	s := &State{Moments: make([]*Moments, len(l.heads))}
	for _, x := range l.sources {
		if c := l.heads[x.head].Teacher; x.standardize && s.Moments[x.head] == nil {
			s.Moments[x.head] = &Moments{Mean: make([]float64, c), Square: make([]float64, c)}
		}
	}
	if l.mutual == nil {
		return s, nil
	}
	x := l.sources[l.views[l.main].source]
	for g := range x.groups {
		p, err := newPrior(l.priorConfig(g), x.student, l.seed, g)
		if err != nil {
			return nil, err
		}
		s.Priors = append(s.Priors, p)
	}
	return s, nil
}

// priorConfig is that of one feature group, with its part of the means.
func (l *Loss) priorConfig(group int) PriorConfig {
	c := l.mutual.Prior
	x := l.sources[l.views[l.main].source]
	if len(c.Mean) == 0 {
		return c
	}
	mean := make([]float64, x.student)
	for j := range mean {
		at := group*x.student + j
		if x.order != nil {
			at = x.order[at]
		}
		mean[j] = c.Mean[at]
	}
	c.Mean = mean
	return c
}

// check says whether a state is one of this loss.
func (s *State) check(l *Loss) error {
	if len(s.Moments) != len(l.heads) {
		return fmt.Errorf("a state of %d heads for a loss of %d", len(s.Moments), len(l.heads))
	}
	for _, x := range l.sources {
		m, c := s.Moments[x.head], l.heads[x.head].Teacher
		if x.standardize && (m == nil || m.Steps < 0 || len(m.Mean) != c || len(m.Square) != c) {
			return fmt.Errorf("the state has no moments of the %d channels of head %d's teacher", c, x.head)
		}
	}
	if l.mutual == nil {
		return nil
	}
	x := l.sources[l.views[l.main].source]
	if len(s.Priors) != x.groups {
		return fmt.Errorf("the state has %d priors; a %s in %d feature groups needs one for each",
			len(s.Priors), PriorMutualInformation, x.groups)
	}
	for _, p := range s.Priors {
		switch {
		case p == nil:
			return fmt.Errorf("no prior: a %s term needs one", PriorMutualInformation)
		case p.Classes != x.student:
			return fmt.Errorf("prior over %d classes for features of %d", p.Classes, x.student)
		}
		if err := p.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// standardize writes (x - mean) / deviation, row by row.
func (m *Moments) standardize(dst, src []float64) {
	c := len(m.Mean)
	total := 0.0
	for j := range c {
		total += m.variance(j)
	}
	least := max(leastDeviation*math.Sqrt(total/float64(c)), minDeviation)
	for j, mean := range m.Mean {
		scale := 1 / max(math.Sqrt(m.variance(j)), least)
		for i := j; i < len(src); i += c {
			dst[i] = (src[i] - mean) * scale
		}
	}
}

// variance is that of a channel.
func (m *Moments) variance(j int) float64 { return max(m.Square[j]-float64(m.Mean[j]*m.Mean[j]), 0) }

// maxMoment bounds the features that moments are taken of: the square of a larger one would be clamped (fixed.addValue).
const maxMoment = 1 << 16

// momentWords is what a channel takes in a vector of sums: x and x^2, two words each.
const momentWords = 4

// countMoments adds a lane's features to sums, [C, momentWords].
func (f fixed) countMoments(sums []int64, src []float64, c int) {
	for i, v := range src {
		at := sums[i%c*momentWords:][:momentWords]
		f.addValue(at[:2], v)
		f.addValue(at[2:], float64(v*v))
	}
}

// followed returns the moments after one more batch.
func (m *Moments) followed(sums []int64, f fixed, samples float64) *Moments {
	c := len(m.Mean)
	v := make([]float64, 2*c)
	next := &Moments{Steps: m.Steps + 1, Mean: v[:c:c], Square: v[c:]}
	share := max(1/float64(next.Steps), memory)
	for j := range c {
		at := sums[j*momentWords:][:momentWords]
		next.Mean[j] = m.Mean[j] + float64(share*(f.readValue(at[:2])/samples-m.Mean[j]))
		next.Square[j] = m.Square[j] + float64(share*(f.readValue(at[2:])/samples-m.Square[j]))
	}
	return next
}
