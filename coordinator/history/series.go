package history

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"pupil/coordinator/wire"
)

// The bounds of a Series.
const (
	Capacity   = 512 // points; when it is full, neighbours are joined
	maxColumns = 48
)

// Series are the reports of a run, each point the mean of those of Stride steps. The zero value is empty.
type Series struct {
	Stride  int               // steps of a point; 0: there is none yet
	Steps   []int             // of each point, the last one
	Columns map[string]Column // as long as Steps

	first int // step that the last point began with
}

// Column is a value by point. NaN, null in JSON: it was not reported.
type Column struct {
	Mean  []float64
	count []int32
}

// Add takes a report, whose time is in seconds since 1970. One that goes back, as after a restore, takes away what came
// after it. It says whether points that were there before the last one have changed.
func (s *Series) Add(r wire.Report, time float64) (changed bool) {
	if s.Stride == 0 {
		s.Stride, s.Columns = 1, map[string]Column{}
	}
	if n := len(s.Steps); n > 0 && r.Step <= s.Steps[n-1] {
		changed = s.cut(r.Step)
	}
	if n := len(s.Steps); n == 0 || r.Step >= s.first+s.Stride {
		if n == Capacity {
			s.halve()
			changed = true
		}
		s.append(r.Step)
	}
	at := len(s.Steps) - 1
	s.Steps[at] = r.Step
	for name, v := range values(r, time) {
		s.column(name).add(at, v)
	}
	return changed
}

// values are the columns of a report.
func values(r wire.Report, time float64) map[string]float64 {
	v := maps.Clone(r.Health)
	if v == nil {
		v = map[string]float64{}
	}
	v["time"], v["loss"], v["mutual_information"] = time, r.Loss, r.MutualInformation
	v["learning_rate"], v["seconds"], v["images"] = r.LearningRate, r.Seconds, float64(r.Images)
	for _, name := range r.NonFinite {
		delete(v, name)
	}
	return v
}

// append begins a point.
func (s *Series) append(step int) {
	s.Steps = append(s.Steps, step)
	s.first = step - (step-1)%s.Stride // points of all coordinators begin alike
	for name, c := range s.Columns {
		c.Mean, c.count = append(c.Mean, math.NaN()), append(c.count, 0)
		s.Columns[name] = c
	}
}

// column is that of a name; there are no more than maxColumns.
func (s *Series) column(name string) Column {
	c, known := s.Columns[name]
	if !known && len(s.Columns) < maxColumns {
		c = Column{Mean: slices.Repeat([]float64{math.NaN()}, len(s.Steps)), count: make([]int32, len(s.Steps))}
		s.Columns[name] = c
	}
	return c
}

func (c Column) add(at int, v float64) { c.join(at, v, 1) }

// join takes n values with a mean into a point.
func (c Column) join(at int, mean float64, n int32) {
	switch {
	case c.Mean == nil || n == 0: // beyond maxColumns, or nothing
	case c.count[at] == 0:
		c.Mean[at], c.count[at] = mean, n
	default:
		c.count[at] += n
		c.Mean[at] += (mean - c.Mean[at]) * float64(n) / float64(c.count[at])
	}
}

// cut takes away the points that reach to a step or beyond.
func (s *Series) cut(step int) (changed bool) {
	n, _ := slices.BinarySearch(s.Steps, step)
	changed = n < len(s.Steps)
	s.Steps = s.Steps[:n]
	for name, c := range s.Columns {
		s.Columns[name] = Column{c.Mean[:n], c.count[:n]}
	}
	s.first = math.MinInt // another point begins
	return changed
}

// halve joins each two points.
func (s *Series) halve() {
	joined := Series{Stride: 2 * s.Stride, Columns: map[string]Column{}}
	for name := range s.Columns {
		joined.Columns[name] = Column{}
	}
	for i, step := range s.Steps {
		if n := len(joined.Steps); n == 0 || step >= joined.first+joined.Stride {
			joined.append(step)
		}
		at := len(joined.Steps) - 1
		joined.Steps[at] = step
		for name, c := range s.Columns {
			joined.Columns[name].join(at, c.Mean[i], c.count[i])
		}
	}
	*s = joined
}

// Before puts what an older series says of the steps before the first one of s in front of it.
func (s *Series) Before(old *Series) {
	merged := old.clone()
	if len(s.Steps) > 0 {
		merged.cut(s.Steps[0] - s.Stride + 1)
	}
	for merged.Stride < s.Stride && merged.Stride > 0 {
		merged.halve()
	}
	for s.Stride < merged.Stride && s.Stride > 0 {
		s.halve()
	}
	merged.Stride = max(merged.Stride, s.Stride)
	for i, step := range s.Steps {
		merged.append(step)
		for name, c := range s.Columns {
			merged.column(name).join(len(merged.Steps)-1, c.Mean[i], c.count[i])
		}
	}
	merged.first = s.first
	for len(merged.Steps) > Capacity {
		merged.halve()
	}
	*s = *merged
}

// From is a copy of the points from an index on.
func (s *Series) From(i int) *Series {
	out := &Series{Stride: s.Stride, Steps: slices.Clone(s.Steps[i:]), Columns: map[string]Column{}, first: s.first}
	for name, c := range s.Columns {
		out.Columns[name] = Column{slices.Clone(c.Mean[i:]), slices.Clone(c.count[i:])}
	}
	return out
}

func (s *Series) clone() *Series { return s.From(0) }

// shape is a Series as JSON.
type shape struct {
	Stride  int                   `json:"stride"`
	Steps   []int                 `json:"steps"`
	Columns map[string][]*float64 `json:"columns"`
}

// MarshalJSON writes stride, steps and columns, with null for what was not reported.
func (s *Series) MarshalJSON() ([]byte, error) {
	out := shape{Stride: s.Stride, Steps: s.Steps, Columns: map[string][]*float64{}}
	if out.Steps == nil {
		out.Steps = []int{}
	}
	for name, c := range s.Columns {
		values := make([]*float64, len(c.Mean))
		for i, v := range c.Mean {
			if c.count[i] > 0 && !math.IsNaN(v) && !math.IsInf(v, 0) {
				values[i] = &v
			}
		}
		out.Columns[name] = values
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON has written. Each value counts as one report.
func (s *Series) UnmarshalJSON(data []byte) error {
	var in shape
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	*s = Series{Stride: in.Stride, Steps: in.Steps, Columns: map[string]Column{}, first: math.MinInt}
	for name, values := range in.Columns {
		c := Column{Mean: make([]float64, len(values)), count: make([]int32, len(values))}
		for i, v := range values {
			if c.Mean[i] = math.NaN(); v != nil {
				c.Mean[i], c.count[i] = *v, 1
			}
		}
		s.Columns[name] = c
	}
	return nil
}
