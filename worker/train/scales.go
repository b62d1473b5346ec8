package train

import (
	"fmt"

	"pupil/allreduce"
)

// Scales choose the exponents of a step's fixed-point sums.
type Scales struct {
	Gradients  *allreduce.Scaler `json:"gradients"`  // in the job's wire format
	Statistics *allreduce.Scaler `json:"statistics"` // of the norms: they are few, and always have 32 bits
}

// SetWire gives a state before the first step its scales, and for sums of 16 bits the lanes' error feedback. The error
// tells of too many lanes for the format.
func (s *State) SetWire(f allreduce.Format, lanes int) error {
	params, buffers := len(s.Network.Params()), len(s.Network.Buffers())
	s.Scales.Statistics = allreduce.NewScaler(buffers, lanes)
	s.Feedback = nil
	if f == allreduce.Fixed32 {
		s.Scales.Gradients = allreduce.NewScaler(params, lanes)
		return nil
	}
	gradients, err := allreduce.NewScaler16(params, lanes)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	s.Scales.Gradients, s.Feedback = gradients, newFeedback(len(s.Model.Params), lanes)
	return nil
}

// exponents are those of the next step, by tensor of the layout.
func (s Scales) exponents() []int {
	return append(s.Gradients.Exponents(), s.Statistics.Exponents()...)
}

// update takes what a step has reduced, by tensor of the layout.
func (s Scales) update(largest []float64, saturated []int, params int) error {
	if err := s.Gradients.Update(largest[:params], saturated[:params]); err != nil {
		return err
	}
	return s.Statistics.Update(largest[params:], saturated[params:])
}
