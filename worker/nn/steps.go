package nn

import "slices"

// Step is a layer as another program needs it to compute the same. Values are numbered; value 0 is the images.
type Step struct {
	Layer
	In  []int
	Out int

	Pad    int // of a window, on each side
	Groups int // of a convolution: 1, or its channels

	// Names of tensors as in Network.Export, "" for none. A convolution has a weight and a batch norm with scale, shift,
	// mean and variance; a linear layer has a weight and a bias.
	Weight, Bias                 string
	Scale, Shift, Mean, Variance string
	Epsilon                      float32 // of the batch norm
}

// Steps lists the layers that lead to some outputs, in the order in which they run. Those that the network does not
// have are passed over.
func (n *Network) Steps(outputs ...Output) []Step {
	var values []int
	for _, o := range outputs {
		if v := n.output(o); v >= 0 {
			values = append(values, v)
		}
	}
	var steps []Step
	for _, l := range n.leading(values) {
		s := Step{Layer: n.outline(&l), In: slices.Clone(l.in), Out: l.out}
		switch l.kind {
		case convNorm:
			s.Pad, s.Groups, s.Epsilon = l.geometry.Pad, 1, l.eps
			if l.depthwise {
				s.Groups = l.geometry.C
			}
			s.Weight, s.Scale, s.Shift = n.params[l.weight].Name, n.params[l.weight+1].Name, n.params[l.weight+2].Name
			s.Mean, s.Variance = n.buffers[l.mean].Name, n.buffers[l.mean+1].Name
		case linear:
			s.Weight, s.Bias = n.params[l.weight].Name, n.params[l.weight+1].Name
		case maxPool:
			s.Pad = l.geometry.Pad
		}
		steps = append(steps, s)
	}
	return steps
}

// ValueOf is the number of an output's value in Steps, -1 if the network does not have it.
func (n *Network) ValueOf(o Output) int { return n.output(o) }
