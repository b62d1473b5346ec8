package nn

import (
	"slices"

	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// infer adds the layers of some values, which go to the memory that to gives.
func (g *graph) infer(values []int, to func(v int) []float32) error {
	g.into = map[int]*memory{}
	for _, v := range values {
		m := callers(to(v))
		m.size = g.batch * g.net.values[v].size()
		g.into[v] = m
	}
	layers := g.net.leading(values)
	g.plan(layers, values)
	for _, f := range g.fuse(layers) {
		if err := g.inferLayer(f); err != nil {
			return err
		}
	}
	return nil
}

// fused is a layer of an inference, and the join that it does as it writes, if any.
type fused struct {
	*layer
	join     *layer
	residual int // the value that the join adds
}

// out is the value that the layer makes.
func (f fused) value() int {
	if f.join != nil {
		return f.join.out
	}
	return f.out
}

func (f fused) act() kernel.Activation {
	if f.join != nil {
		return f.join.activation
	}
	return f.activation
}

// fuse lets convolutions do the joins that follow them: that of the two summands which is made last adds the other one,
// if nobody else wants what it gives.
func (g *graph) fuse(layers []layer) []fused {
	list := make([]fused, len(layers))
	maker := make([]int, len(g.net.values)) // places in list
	for i := range layers {
		list[i].layer = &layers[i]
		maker[layers[i].out] = i
	}
	for i := range list {
		j := list[i].layer
		if j.kind != join {
			continue
		}
		x, y := j.in[0], j.in[1]
		if maker[x] < maker[y] {
			x, y = y, x
		}
		last := &list[maker[x]]
		if x == y || last.layer.kind != convNorm || last.depthwise || last.activation != kernel.Identity ||
			g.values[x].uses > 1 {
			continue
		}
		last.join, last.residual = j, y
		maker[j.out] = maker[x]
		list[i].layer = nil
	}
	return slices.DeleteFunc(list, func(f fused) bool { return f.layer == nil })
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
	y, shape := g.output(f.value(), over), g.shape(f.value())
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
	return g.inferred(f.value(), o, children...)
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
