package nn

import (
	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// linear adds activation(x W + b): x is [n, C], W is [C, K]. In training the activation is an operation of its own.
func (g *graph) linear(l *layer) error {
	x := g.operand(l.in[0])
	y, shape := g.output(l.out), g.shape(l.out)
	n, c, k := g.batch, g.net.values[l.in[0]].c, shape[3]
	o := g.newOp("linear", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.Gemm(false, false, n, k, c, in[0], c, in[1], k, false, y.data, k, g.ws)
		kernel.AddBias(n, k, y.data, in[2])
		return nil
	}
	o.wrt = []bool{x.route == direct, true, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.linearGradient(l, x, inputs, grad)
	}
	node, err := g.apply(o, x.node, g.param(l.weight), g.param(l.weight+1))
	if err != nil {
		return err
	}
	if l.activation != kernel.Identity {
		return g.activation(l, node)
	}
	return g.produce(l.out, node)
}

// linearGradient makes db, dW and dX.
func (g *graph) linearGradient(
	l *layer, x operand, inputs gorgonia.Nodes, grad *gorgonia.Node,
) (gorgonia.Nodes, error) {
	n, c, k := g.batch, g.net.values[l.in[0]].c, g.net.values[l.out].c
	db, err := g.gradient(l.weight+1, func(in [][]float32, dst []float32) { kernel.SumRows(n, k, in[0], dst) }, grad)
	if err != nil {
		return nil, err
	}
	dw, err := g.gradient(l.weight, func(in [][]float32, dst []float32) {
		kernel.Gemm(true, false, c, k, n, in[0], c, in[1], k, false, dst, k, g.ws)
	}, inputs[0], grad)
	if err != nil {
		return nil, err
	}
	dx := g.reserve(n * c)
	o := g.newOp("linear gradient", dx, g.shape(l.in[0])...)
	o.run = func(in [][]float32) error {
		kernel.Gemm(false, true, n, c, k, in[0], k, in[1], k, false, dx.data, c, g.ws)
		return nil
	}
	node, err := g.apply(o, grad, inputs[1])
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{x.deliver(node), dw, db}, nil
}

// activation adds the activation of a linear layer; input is what the activation is given.
func (g *graph) activation(l *layer, input *gorgonia.Node) error {
	y, shape := g.output(l.out), g.shape(l.out)
	o := g.newOp("activation", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.ActForward(l.activation, in[0], y.data)
		return nil
	}
	o.wrt = []bool{true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		dx := g.reserve(y.size, memoryOf(grad))
		o := g.newOp("activation gradient", dx, shape...)
		o.run = func(in [][]float32) error {
			kernel.ActBackward(l.activation, in[0], in[1], dx.data)
			return nil
		}
		n, err := g.apply(o, inputs[0], grad)
		if err != nil {
			return nil, err
		}
		return gorgonia.Nodes{n}, nil
	}
	n, err := g.apply(o, input)
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}
