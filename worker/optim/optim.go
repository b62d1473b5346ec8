package optim

import (
	"fmt"
	"slices"
)

// Group is a range of the flat vectors whose elements are updated alike: a tensor, for LARS, whose trust ratio is that
// of the group.
type Group struct {
	Offset, Len int
	// Decay says that weight decay applies, and the trust ratio of LARS: to weights, but not to biases and the scale
	// and shift of norms.
	Decay bool
}

// Moment is a named vector of the state of an optimiser (as long as the parameters) or of an average. It is a view, not
// a copy.
type Moment struct {
	Name   string
	Values []float32
}

// Optimizer updates parameters from the gradient of a global batch.
type Optimizer interface {
	// Step makes update number step (from 0) with learning rate rate: params and the moments change in place.
	Step(params, gradients []float32, step int, rate float64)
	// Moments are the state that the next step depends on, for checkpoints.
	Moments() []Moment
}

// The optimisers.
const (
	AdamW = "adamw"
	LARS  = "lars"
	SGD   = "sgd"
)

// Names are the optimisers that New knows, sorted.
func Names() []string { return []string{AdamW, LARS, SGD} }

// Config selects an optimiser. The fields are those of the job's optimizer section.
type Config struct {
	Name             string  // one of Names
	WeightDecay      float64 // at least 0
	Momentum         float64 // sgd, lars: from 0 to below 1
	Nesterov         bool    // sgd, lars: needs a momentum above 0
	TrustCoefficient float64 // lars: above 0, often 0.001
	Beta1            float64 // adamw: from 0 to below 1
	Beta2            float64 // adamw: from 0 to below 1
	Epsilon          float64 // adamw: at least 0
}

// Validate returns every fault of the configuration in one error. What the optimiser has no use for is not looked at.
func (c Config) Validate() error {
	f := &faults{section: "optimizer"}
	if f.oneOf("name", c.Name, Names()); !slices.Contains(Names(), c.Name) {
		return f.err()
	}
	f.atLeast0("weight_decay", c.WeightDecay)
	if c.Name == AdamW {
		f.below1("betas[0]", c.Beta1)
		f.below1("betas[1]", c.Beta2)
		f.atLeast0("epsilon", c.Epsilon)
		return f.err()
	}
	f.below1("momentum", c.Momentum)
	if c.Nesterov && c.Momentum == 0 {
		f.add("nesterov", "is true with momentum 0", "give a momentum above 0, or nesterov false")
	}
	if c.Name == LARS {
		f.positive("trust_coefficient", c.TrustCoefficient)
	}
	return f.err()
}

// New returns the optimiser of c for size parameters, cut into groups. Elements outside of all groups stay as they are.
func New(c Config, size int, groups []Group) (Optimizer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	for i, g := range groups {
		if g.Offset < 0 || g.Len < 0 || g.Offset+g.Len > size {
			return nil, fmt.Errorf("optimizer: group %d covers elements %d to %d of %d", i, g.Offset, g.Offset+g.Len, size)
		}
	}
	switch c.Name {
	case AdamW:
		return newAdamW(c, size, groups), nil
	case LARS:
		return newLARS(c, size, groups), nil
	default:
		return newSGD(c, size, groups), nil
	}
}
