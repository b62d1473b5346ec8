package nn

import (
	"fmt"
	"slices"
)

// Network is the description of a network: its layers and where each parameter lives. It is immutable and safe for
// concurrent use.
type Network struct {
	config  Config
	layers  []layer
	values  []value
	params  []param
	buffers []buffer

	featureMap, pooled    int // values
	logits, projection    int // values; -1: the network has none
	paramsLen, buffersLen int
}

// Kind says what a parameter is; an optimiser decays only weights.
type Kind uint8

// The kinds of parameters.
const (
	Weight Kind = iota // of a convolution or a linear layer
	Bias               // of a linear layer
	Norm               // scale and shift of a batch norm; also its running statistics
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case Weight:
		return "weight"
	case Bias:
		return "bias"
	default:
		return "norm"
	}
}

// Tensor is a parameter or a running statistic.
type Tensor struct {
	Name        string // torchvision's
	Shape       []int  // torchvision's: [K, C, R, S], depthwise [C, 1, R, S], linear [K, C], vectors [C]
	Offset, Len int    // its part of the flat vector, in elements: [R, S, C, K], [R, S, C], [C, K], [C]
	Kind        Kind
}

// Output says what of a network a criterion sees.
type Output uint8

// The outputs.
const (
	Logits     Output = iota // [batch, outputs]: what the classifier gives
	Pooled                   // [batch, features]: the mean of the last feature map
	Projection               // [batch, projection]: what the linear layer on the pooled features gives
	FeatureMap               // [batch, height, width, features]: the last one; only an Inference gives it
)

// String is the output's name.
func (o Output) String() string {
	switch o {
	case Logits:
		return "logits"
	case Pooled:
		return "pooled"
	case Projection:
		return "projection"
	case FeatureMap:
		return "feature map"
	default:
		return fmt.Sprintf("output %d", uint8(o))
	}
}

// Config is what the network was made from. A network with a design of its own has no Architecture.
func (n *Network) Config() Config { return n.config }

// Params lists the parameters in the order of torchvision's state_dict, and after them projection.weight and
// projection.bias. The flat vector has them in this order, without gaps.
func (n *Network) Params() []Tensor {
	list := make([]Tensor, len(n.params))
	for i, p := range n.params {
		list[i] = p.Tensor
		list[i].Shape = slices.Clone(p.Shape)
	}
	return list
}

// Buffers lists the running statistics in the order of torchvision's state_dict: running_mean and running_var of each
// batch norm. They have a flat vector of their own.
func (n *Network) Buffers() []Tensor {
	list := make([]Tensor, len(n.buffers))
	for i, b := range n.buffers {
		list[i] = b.Tensor
		list[i].Shape = slices.Clone(b.Shape)
	}
	return list
}

// Features is the width of the pooled features.
func (n *Network) Features() int { return n.values[n.pooled].c }

// Width is the number of columns of an output, of the feature map its channels, 0 if the network does not have it.
func (n *Network) Width(o Output) int {
	if v := n.output(o); v >= 0 {
		return n.values[v].c
	}
	return 0
}

// FeatureMap is the shape of the last feature map: what Pooled is the mean of.
func (n *Network) FeatureMap() (height, width, channels int) {
	v := n.values[n.featureMap]
	return v.h, v.w, v.c
}

// output is the value of an output, -1 if the network does not have it.
func (n *Network) output(o Output) int {
	switch o {
	case Logits:
		return n.logits
	case Pooled:
		return n.pooled
	case Projection:
		return n.projection
	case FeatureMap:
		return n.featureMap
	default:
		return -1
	}
}

// leading lists the layers that lead to some values, in order.
func (n *Network) leading(to []int) []layer {
	wanted := make([]bool, len(n.values))
	for _, v := range to {
		wanted[v] = true
	}
	var layers []layer
	for _, l := range slices.Backward(n.layers) {
		if !wanted[l.out] {
			continue
		}
		layers = append(layers, l)
		for _, v := range l.in {
			wanted[v] = true
		}
	}
	slices.Reverse(layers)
	return layers
}

// State is a network's numbers.
type State struct {
	Params  []float32 // see Network.Params
	Buffers []float32 // see Network.Buffers
	Batches int64     // torch's num_batches_tracked: steps that the running statistics have seen
}

// NewState returns a state of the right size: parameters and running means 0, running variances 1.
func (n *Network) NewState() *State {
	s := &State{Params: make([]float32, n.paramsLen), Buffers: make([]float32, n.buffersLen)}
	n.resetBuffers(s)
	return s
}

func (n *Network) resetBuffers(s *State) {
	s.Batches = 0
	for _, b := range n.buffers {
		part := s.Buffers[b.Offset:][:b.Len]
		for i := range part {
			part[i] = 0
			if b.variance {
				part[i] = 1
			}
		}
	}
}

// UpdateRunning moves running statistics towards those of a batch, as torch does after a training step:
// running = (1 - momentum) running + momentum statistic, in float64, rounded once. The momentum is 0.1, and 0.01 in
// MobileNetV3. Both vectors are laid out like Buffers.
func (n *Network) UpdateRunning(buffers, statistics []float32) {
	for _, b := range n.buffers {
		running, batch := buffers[b.Offset:][:b.Len], statistics[b.Offset:][:b.Len]
		for i := range running {
			kept := float64((1 - b.momentum) * float64(running[i]))
			running[i] = float32(kept + float64(b.momentum*float64(batch[i])))
		}
	}
}
