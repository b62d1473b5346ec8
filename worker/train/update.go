package train

import (
	"fmt"

	"pupil/loss"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// update applies the sums of the step to the state. It returns the gradient's norm and the number of saturated values.
func (t *Trainer) update(result *loss.Result, rate float64) (norm float64, saturated int, err error) {
	s := t.state
	t.exchange.result(t.gradients, t.statistics, t.largest, t.saturated)
	for i := range t.statistics { // the mean over lanes
		t.statistics[i] = float32(float64(t.statistics[i]) / float64(t.config.Lanes))
	}
	norm = optim.ClipNorm(t.gradients, t.config.ClipNorm)
	s.Optimizer.Step(s.Model.Params, t.gradients, s.Step, rate)
	t.config.Student.UpdateRunning(s.Model.Buffers, t.statistics)
	s.Model.Batches++
	if err := t.checkUpdated(); err != nil {
		return 0, 0, err
	}
	s.Average.Update(s.Model.Params, s.Model.Buffers, s.Step)
	s.Loss = result.State
	if err := s.Scales.update(t.largest, t.saturated, t.layout.params); err != nil {
		return 0, 0, err
	}
	s.Feedback.commit()
	s.Step++
	for _, n := range t.saturated {
		saturated += n
	}
	return norm, saturated, nil
}

// checkUpdated looks for the first value of the state that is not finite after an update.
func (t *Trainer) checkUpdated() error {
	m := t.state.Model
	for _, x := range []struct {
		what    string
		values  []float32
		tensors []nn.Tensor
	}{{"weight", m.Params, t.config.Student.Params()}, {"running statistic", m.Buffers, t.config.Student.Buffers()}} {
		k := nonFinite(x.values)
		if k < 0 {
			continue
		}
		for _, tensor := range x.tensors {
			if k < tensor.Offset+tensor.Len {
				return fmt.Errorf("%w: %s %s, element %d, after the update; lower optimizer.learning_rate, or look at the images",
					errNonFinite, x.what, tensor.Name, k-tensor.Offset)
			}
		}
	}
	return nil
}
