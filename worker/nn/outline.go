package nn

import "pupil/internal/kernel"

// Layer is one layer of a network as a user is told of it. A convolution has its batch norm and activation with it.
type Layer struct {
	Name       string `json:"name"`                 // of torchvision's module; of an operation without one, its block's
	Kind       string `json:"kind"`                 // convolution, depthwise, linear, add, scale, average pool, max pool
	Kernel     int    `json:"kernel,omitempty"`     // height and width of a window, 0 without one
	Stride     int    `json:"stride,omitempty"`     // of the window
	Activation string `json:"activation,omitempty"` // "" without one

	Shape        [3]int `json:"shape"`         // of the output: height, width, channels
	Parameters   int    `json:"parameters"`    // elements
	MultiplyAdds int64  `json:"multiply_adds"` // of one image, in convolutions and linear layers, padding included
	Bytes        int64  `json:"bytes"`         // of the output of one image
}

// kindNames are the words for kinds.
var kindNames = [...]string{
	convNorm: "convolution", linear: "linear", join: "add", gate: "scale", averagePool: "average pool",
	maxPool: "max pool",
}

// Layers lists the layers in the order in which they run.
func (n *Network) Layers() []Layer {
	list := make([]Layer, len(n.layers))
	for i := range n.layers {
		list[i] = n.outline(&n.layers[i])
	}
	return list
}

func (n *Network) outline(l *layer) Layer {
	v := n.values[l.out]
	o := Layer{Name: l.name, Kind: kindNames[l.kind], Shape: [3]int{v.h, v.w, v.c}, Bytes: 4 * int64(v.size())}
	if l.activation != kernel.Identity {
		o.Activation = l.activation.String()
	}
	switch l.kind {
	case convNorm:
		if l.depthwise {
			o.Kind = "depthwise"
		}
		o.Kernel, o.Stride = l.geometry.R, l.geometry.Stride
		weights := n.params[l.weight].Len
		o.Parameters = weights + n.params[l.weight+1].Len + n.params[l.weight+2].Len
		o.MultiplyAdds = int64(weights) * int64(v.h) * int64(v.w)
	case linear:
		weights := n.params[l.weight].Len
		o.Parameters = weights + n.params[l.weight+1].Len
		o.MultiplyAdds = int64(weights)
	case maxPool:
		o.Kernel, o.Stride = l.geometry.R, l.geometry.Stride
	}
	return o
}

// TrainingBytes is Bytes of a Training for a batch whose criterion sees some outputs. It plans the memory without
// taking it.
func (n *Network) TrainingBytes(batch int, outputs []Output) (int64, error) {
	if err := n.checkOutputs(outputs); err != nil {
		return 0, err
	}
	values := make([]int, len(outputs))
	for i, o := range outputs {
		values[i] = n.output(o)
	}
	t := &Training{}
	g, err := newGraph(n, batch, t, true, func(g *graph) error { return t.build(g, values) })
	if err != nil {
		return 0, err
	}
	return g.bytes, nil
}
