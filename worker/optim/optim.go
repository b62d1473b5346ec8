// Package optim updates a network's weights: optimisers and the schedule of their learning rate.
//
// Weights, gradients and moments are flat float32 vectors in the network's parameter order. An update is elementwise
// and rounds every product, so it gives the same bits however it is cut among threads.
package optim

import (
	"fmt"
	"math"
)

// Group is a range of the flat vectors whose elements are updated alike.
type Group struct {
	Offset, Len int
	Decay       bool // weight decay applies: weights, but not biases and the scale and shift of norms
}

// Moment is a named vector of an optimiser's state, as long as the parameters. It is a view, not a copy.
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

// Config selects an optimiser. The fields are those of the job's optimizer section.
type Config struct {
	Name        string // "adamw" or "sgd"
	WeightDecay float64
	Momentum    float64 // sgd
	Nesterov    bool    // sgd
	Beta1       float64 // adamw
	Beta2       float64 // adamw
	Epsilon     float64 // adamw
}

// New returns the optimiser of c for size parameters, cut into groups. Elements outside of every group stay as they are.
func New(c Config, size int, groups []Group) (Optimizer, error) {
	for i, g := range groups {
		if g.Offset < 0 || g.Len < 0 || g.Offset+g.Len > size {
			return nil, fmt.Errorf("optimizer: group %d covers elements %d to %d of %d", i, g.Offset, g.Offset+g.Len, size)
		}
	}
	switch c.Name {
	case "adamw":
		return newAdamW(c, size, groups), nil
	case "sgd":
		return newSGD(c, size, groups), nil
	}
	return nil, fmt.Errorf("optimizer: unknown name %q; known are adamw and sgd", c.Name)
}

// sqrt32 is the correctly rounded square root of a float32.
func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }
