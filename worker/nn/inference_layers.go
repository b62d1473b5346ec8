package nn

import (
	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// infer adds the layers of a stage. The values that leave it go to the memory that into has for them.
func (g *graph) infer(layers []fused) error {
	g.values = make([]activation, len(g.net.values))
	g.values[g.from] = activation{node: g.images}
	for _, f := range layers {
		if err := g.inferLayer(f); err != nil {
			return err
		}
	}
	return nil
}

func (g *graph) inferLayer(f fused) error {
	switch {
	case f.kind == convNorm && f.depthwise:
		return g.frozenDepthwise(f.layer)
	case f.kind == convNorm:
		return g.frozenConv(f)
	case f.kind == linear:
		return g.frozenLinear(f.layer)
	default:
		return g.layer(f.layer)
	}
}

// weights are a layer's; of a dry graph there are none.
func (g *graph) weights(l *layer) frozenLayer {
	if g.frozen == nil {
		return frozenLayer{}
	}
	return g.frozen.layers[l.out]
}

// frozenConv adds activation(convolution(x) + shift + residual).
func (g *graph) frozenConv(f fused) error {
	x, w := g.operand(f.in[0]), g.weights(f.layer)
	children := gorgonia.Nodes{x.node}
	var over *memory
	if f.join != nil {
		r := g.operand(f.residual).node
		children = append(children, r)
		if f.residual != f.in[0] {
			over = memoryOf(r)
		}
	}
	y, shape := g.output(f.makes(), over), g.shape(f.makes())
	conv := g.convolution(f.layer)
	e := kernel.Epilogue{Shift: w.shift, Act: f.act()}
	o := g.newOp("frozen convolution", y, shape...)
	o.run = func(in [][]float32) error {
		e := e
		if len(in) > 1 {
			e.Residual = in[1]
		}
		kernel.ConvForwardPacked(conv.Conv, in[0], w.packed, e, y.data, g.ws)
		return nil
	}
	return g.inferred(f.makes(), o, children...)
}

// frozenDepthwise adds activation(convolution(x) + shift).
func (g *graph) frozenDepthwise(l *layer) error {
	x, w := g.operand(l.in[0]), g.weights(l)
	y, shape := g.output(l.out), g.shape(l.out)
	conv := g.convolution(l)
	o := g.newOp("frozen depthwise convolution", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.DepthwiseForwardThen(conv.Conv, in[0], w.filters, w.shift, l.activation, y.data, g.ws)
		return nil
	}
	return g.inferred(l.out, o, x.node)
}

// frozenLinear adds activation(x W + b).
func (g *graph) frozenLinear(l *layer) error {
	x, w := g.operand(l.in[0]), g.weights(l)
	y, shape := g.output(l.out), g.shape(l.out)
	c, k := g.net.values[l.in[0]].c, shape[3]
	o := g.newOp("frozen linear", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.GemmPacked(g.batch, in[0], c, w.packed, kernel.Epilogue{Shift: w.shift, Act: l.activation}, y.data, k, g.ws)
		return nil
	}
	return g.inferred(l.out, o, x.node)
}

// inferred adds the operation that makes a value.
func (g *graph) inferred(v int, o *op, children ...*gorgonia.Node) error {
	n, err := g.apply(o, children...)
	if err != nil {
		return err
	}
	return g.produce(v, n)
}
