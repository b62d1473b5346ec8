package nn

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// convolution is a dense or a depthwise convolution of a whole batch.
type convolution struct {
	kernel.Conv
	depthwise bool
	ws        *kernel.Workspace
}

func (g *graph) convolution(l *layer) convolution {
	c := convolution{Conv: l.geometry, depthwise: l.depthwise, ws: g.ws}
	c.N = g.batch
	return c
}

func (c convolution) forward(x, w, y []float32) {
	if c.depthwise {
		kernel.DepthwiseForward(c.Conv, x, w, y, c.ws)
	} else {
		kernel.ConvForward(c.Conv, x, w, y, c.ws)
	}
}

func (c convolution) backwardData(dy, w, dx []float32) {
	if c.depthwise {
		kernel.DepthwiseBackwardData(c.Conv, dy, w, dx, c.ws)
	} else {
		kernel.ConvBackwardData(c.Conv, dy, w, dx, c.ws)
	}
}

func (c convolution) backwardWeights(x, dy, dw []float32) {
	if c.depthwise {
		kernel.DepthwiseBackwardWeights(c.Conv, x, dy, dw, c.ws)
	} else {
		kernel.ConvBackwardWeights(c.Conv, x, dy, dw, c.ws)
	}
}

// convNorm adds a convolution and, as a second operation, its batch norm with activation.
func (g *graph) convNorm(l *layer) error {
	v := g.net.values[l.out]
	rows := g.batch * v.h * v.w
	if rows < 2 {
		return fmt.Errorf("nn: %s: batch statistics need at least 2 values a channel, there is %d: "+
			"use a larger batch or larger images", g.net.params[l.weight+1].Name, rows)
	}
	x := g.operand(l.in[0])
	z := g.buffer(l.out)
	g.consume(l.in[0])
	conv, shape := g.convolution(l), g.shape(l.out)
	o := g.newOp("convolution", z, shape...)
	o.run = func(in [][]float32) error {
		conv.forward(in[0], in[1], z)
		return nil
	}
	o.wrt = []bool{x.route == direct, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.convGradient(l, x, inputs, grad)
	}
	n, err := g.apply(o, x.node, g.param(l.weight))
	if err != nil {
		return err
	}
	return g.norm(l, n, z)
}

// convGradient makes dW, then dX unless the input needs none.
func (g *graph) convGradient(l *layer, x operand, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	conv := g.convolution(l)
	dw, err := g.gradient(l.weight, func(in [][]float32, dst []float32) {
		conv.backwardWeights(in[0], in[1], dst)
	}, inputs[0], grad)
	if err != nil {
		return nil, err
	}
	var dx *gorgonia.Node
	if x.route != nowhere {
		shape := g.shape(l.in[0])
		data := g.arena.get(product(shape))
		o := g.newOp("convolution gradient", data, shape...)
		o.run = func(in [][]float32) error {
			conv.backwardData(in[0], in[1], data)
			return nil
		}
		if dx, err = g.apply(o, grad, inputs[1]); err != nil {
			return nil, err
		}
		g.hold(dx, data)
	}
	g.release(grad)
	return gorgonia.Nodes{x.deliver(dx), dw}, nil
}

// norm adds batch norm with the batch's statistics, fused with the activation. z is the convolution's output.
func (g *graph) norm(l *layer, conv *gorgonia.Node, z []float32) error {
	data, shape := g.buffer(l.out), g.shape(l.out)
	c := shape[3]
	rows := len(data) / c
	b := &batchNorm{layer: l, rows: rows, c: c, mean: make([]float32, c), invStd: make([]float32, c)}
	toMean, toVariance := g.statistic(l.mean), g.statistic(l.mean+1)
	o := g.newOp("batch norm", data, shape...)
	o.run = func(in [][]float32) error {
		kernel.BatchNormForward(rows, c, in[0], in[1], in[2], l.eps, l.activation, data, b.mean, b.invStd, toVariance)
		copy(toMean, b.mean)
		return nil
	}
	o.wrt = []bool{true, true, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		nodes, err := g.normGradient(b, inputs, grad)
		g.retire(l.out)
		g.arena.put(z)
		return nodes, err
	}
	n, err := g.apply(o, conv, g.param(l.weight+1), g.param(l.weight+2))
	if err != nil {
		return err
	}
	return g.produce(l.out, n, data)
}

// batchNorm is what a batch norm's forward pass leaves for its backward pass.
type batchNorm struct {
	layer        *layer
	rows, c      int
	mean, invStd []float32
}

// normGradient makes one operation that computes all three gradients, and one for each parameter that hands on its
// gradient: an operation has one output. It reads the convolution's output, not the norm's, and writes over grad.
func (g *graph) normGradient(b *batchNorm, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, shape := b.layer, g.shape(b.layer.out)
	data := g.reuse(grad, product(shape))
	toGamma, toBeta := g.gradientOf(l.weight+1), g.gradientOf(l.weight+2)
	o := g.newOp("batch norm gradient", data, shape...)
	o.run = func(in [][]float32) error {
		x, dy, gamma, beta := in[0], in[1], in[2], in[3]
		kernel.BatchNormBackward(b.rows, b.c, x, dy, gamma, beta, b.mean, b.invStd, l.activation, data, toGamma, toBeta)
		return nil
	}
	dx, err := g.apply(o, inputs[0], grad, inputs[1], inputs[2])
	if err != nil {
		return nil, err
	}
	g.hold(dx, data)
	written := func([][]float32, []float32) {} // by the operation above
	beta, err := g.gradient(l.weight+2, written, dx)
	if err != nil {
		return nil, err
	}
	gamma, err := g.gradient(l.weight+1, written, dx)
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{dx, gamma, beta}, nil
}
