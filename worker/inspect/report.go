package inspect

import (
	"fmt"

	"pupil/worker/nn"
	"pupil/worker/optim"
)

// Config says how the network is used.
type Config struct {
	Role      string          // what the network is in a job; "" alone
	Batch     int             // images of a lane
	Lanes     int             // of the job; 0 is 1
	Outputs   []nn.Output     // what the criterion sees; empty: the network is not trained
	Optimizer string          // one of optim.Names
	Average   bool            // an average of the weights is kept
	Freeze    nn.FreezeConfig // how inference prepares the weights
}

// Report is what Of found.
type Report struct {
	Role    string     `json:"role,omitempty"`
	Config  nn.Config  `json:"config"`
	Layers  []nn.Layer `json:"layers"`
	Total   Total      `json:"total"`
	Batch   int        `json:"batch"`   // images of a lane
	Lanes   int        `json:"lanes"`   // of the job
	Outputs []string   `json:"outputs"` // that training's criterion sees

	Training  *Training `json:"training,omitempty"` // nil: the network is not trained
	Inference Inference `json:"inference"`
	Peak      Peak      `json:"peak"`
}

// Peak is the most memory in bytes that the network takes of a worker at one time: in training if it is trained, else in inference.
type Peak struct {
	Lane  int64 `json:"lane"`  // with one lane
	Lanes int64 `json:"lanes"` // with all of the job's
}

// Total is the sum over the layers.
type Total struct {
	Parameters   int   `json:"parameters"`
	MultiplyAdds int64 `json:"multiply_adds"` // of one image
	Bytes        int64 `json:"bytes"`         // of the outputs of one image
}

// Training is memory in bytes. Each lane has the first two, a worker's lanes share the others.
type Training struct {
	Activations int64 `json:"activations"` // and their gradients: the most that is needed at one time
	Gradients   int64 `json:"gradients"`   // of the parameters, and the batch's statistics
	Parameters  int64 `json:"parameters"`  // and running statistics
	Optimizer   int64 `json:"optimizer"`   // its state
	Average     int64 `json:"average"`     // of the weights and running statistics
}

// Lane is what one lane takes.
func (t Training) Lane() int64 { return t.Activations + t.Gradients }

// Shared is what the lanes of a worker share.
func (t Training) Shared() int64 { return t.Parameters + t.Optimizer + t.Average }

// Inference is memory in bytes.
type Inference struct {
	Activations int64 `json:"activations"` // of each lane: the most that is needed at one time
	Parameters  int64 `json:"parameters"`  // that lanes share, with their norms folded in, arranged for the kernels
}

// Of plans the network's use. Its errors name what does not fit: a batch below 1 (below 2 where a map has one pixel),
// an output that the network does not have, an unknown optimiser.
func Of(n *nn.Network, c Config) (*Report, error) {
	r := &Report{Role: c.Role, Config: n.Config(), Layers: n.Layers(), Batch: c.Batch, Lanes: max(c.Lanes, 1), Outputs: []string{}}
	for _, l := range r.Layers {
		r.Total.Parameters += l.Parameters
		r.Total.MultiplyAdds += l.MultiplyAdds
		r.Total.Bytes += l.Bytes
	}
	var err error
	if len(c.Outputs) > 0 {
		if err = r.train(n, c); err != nil {
			return nil, err
		}
	}
	if r.Inference.Activations, err = n.InferenceBytes(c.Batch); err != nil {
		return nil, err
	}
	r.Inference.Parameters = n.FrozenBytes(c.Freeze)
	lane, shared := r.Inference.Activations, r.Inference.Parameters
	if r.Training != nil {
		lane, shared = r.Training.Lane(), r.Training.Shared()
	}
	r.Peak = Peak{Lane: lane + shared, Lanes: int64(r.Lanes)*lane + shared}
	return r, nil
}

func (r *Report) train(n *nn.Network, c Config) error {
	for _, o := range c.Outputs {
		r.Outputs = append(r.Outputs, o.String())
	}
	activations, err := n.TrainingBytes(c.Batch, c.Outputs)
	if err != nil {
		return err
	}
	moments, err := optimizerMoments(c.Optimizer)
	if err != nil {
		return err
	}
	params, all := elements(n.Params()), elements(n.Params())+elements(n.Buffers())
	r.Training = &Training{
		Activations: activations, Gradients: floats(all), Parameters: floats(all), Optimizer: floats(moments * params),
	}
	if c.Average {
		r.Training.Average = floats(all)
	}
	return nil
}

// optimizerMoments is how many vectors as long as the parameters an optimiser keeps.
func optimizerMoments(name string) (int, error) {
	o, err := optim.New(optim.Config{Name: name, TrustCoefficient: 1}, 1, nil)
	if err != nil {
		return 0, fmt.Errorf("inspect: %w", err)
	}
	return len(o.Moments()), nil
}

func elements(tensors []nn.Tensor) (n int) {
	for _, t := range tensors {
		n += t.Len
	}
	return n
}

// floats is the size of n elements in bytes.
func floats(n int) int64 { return 4 * int64(n) }
