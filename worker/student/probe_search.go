package student

import (
	"math"

	"gonum.org/v1/gonum/optimize"
)

// slopeSearch is a line search for convex functions: it looks for a step at which the slope has become flat, and
// bisects by the slope's sign. It asks of the value only that it does not rise by more than its rounding, because near
// a minimum float32 products tell slopes apart where they no longer tell values apart (the approximate Wolfe condition
// of Hager and Zhang 2005).
type slopeSearch struct {
	value, slope float64 // at step 0
	step         float64
	lower, upper float64 // steps that are too short and too long
	trials       int
}

const (
	flatEnough     = 0.9  // of the slope at 0, the usual choice for quasi-Newton methods
	valueRounding  = 1e-6 // of the value at 0
	searchTrials   = 40
	searchedValues = optimize.FuncEvaluation | optimize.GradEvaluation
)

var _ optimize.Linesearcher = (*slopeSearch)(nil)

// Init begins a search.
func (s *slopeSearch) Init(value, slope, step float64) optimize.Operation {
	*s = slopeSearch{value: value, slope: slope, step: step, upper: math.Inf(1)}
	return searchedValues
}

// Iterate judges the last step, and returns the next one.
func (s *slopeSearch) Iterate(value, slope float64) (optimize.Operation, float64, error) {
	high := !(value <= s.value+valueRounding*math.Abs(s.value)) // a NaN as well
	switch {
	case !high && math.Abs(slope) <= flatEnough*math.Abs(s.slope):
		return optimize.MajorIteration, s.step, nil
	case high || slope > 0:
		s.upper = s.step
	default:
		s.lower = s.step
	}
	if s.trials++; s.trials > searchTrials {
		return optimize.NoOperation, s.step, optimize.ErrLinesearcherFailure
	}
	if s.step = (s.lower + s.upper) / 2; math.IsInf(s.upper, 1) {
		s.step = 2 * s.lower
	}
	return searchedValues, s.step, nil
}
