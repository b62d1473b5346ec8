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

// backwardWeights reads x through a norm, which may be nil.
func (c convolution) backwardWeights(x []float32, in *kernel.Norm, dy, dw []float32) {
	if c.depthwise {
		kernel.DepthwiseBackwardWeightsNorm(c.Conv, x, in, dy, dw, c.ws)
	} else {
		kernel.ConvBackwardWeightsNorm(c.Conv, x, in, dy, dw, c.ws)
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
	z := g.output(l.out)
	conv, shape := g.convolution(l), g.shape(l.out)
	o := g.newOp("convolution", z, shape...)
	o.run = func(in [][]float32) error {
		conv.forward(in[0], in[1], z.data)
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
	return g.norm(l, n)
}

// convGradient makes dW, then dX unless the input needs none. Where a batch norm made the input, dW applies it again to
// what the norm was given, so that only this lives until the backward pass.
func (g *graph) convGradient(l *layer, x operand, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	conv := g.convolution(l)
	from, norm := inputs[0], (*kernel.Norm)(nil)
	if x.norm != nil {
		from, norm = x.norm.before, &x.norm.again
	}
	dw, err := g.gradient(l.weight, func(in [][]float32, dst []float32) {
		conv.backwardWeights(in[0], norm, in[1], dst)
	}, from, grad)
	if err != nil {
		return nil, err
	}
	var node *gorgonia.Node
	if x.route != nowhere {
		shape := g.shape(l.in[0])
		dx := g.reserve(product(shape))
		o := g.newOp("convolution gradient", dx, shape...)
		o.run = func(in [][]float32) error {
			conv.backwardData(in[0], in[1], dx.data)
			return nil
		}
		if node, err = g.apply(o, grad, inputs[1]); err != nil {
			return nil, err
		}
	}
	return gorgonia.Nodes{x.deliver(node), dw}, nil
}

// norm adds batch norm with the batch's statistics, fused with the activation. conv is the convolution's output.
func (g *graph) norm(l *layer, conv *gorgonia.Node) error {
	y, shape := g.output(l.out), g.shape(l.out)
	c := shape[3]
	rows := y.size / c
	b := &batchNorm{
		layer: l, rows: rows, c: c, mean: make([]float32, c), invStd: make([]float32, c), before: conv,
	}
	g.values[l.out].norm = b
	toMean, toVariance := g.statistic(l.mean), g.statistic(l.mean+1)
	o := g.newOp("batch norm", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.BatchNormForward(rows, c, in[0], in[1], in[2], l.eps, l.activation, y.data, b.mean, b.invStd, toVariance)
		copy(toMean, b.mean)
		b.remember(in[1], in[2], g.ws)
		return nil
	}
	o.wrt = []bool{true, true, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.normGradient(b, inputs, grad)
	}
	n, err := g.apply(o, conv, g.param(l.weight+1), g.param(l.weight+2))
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}

// batchNorm is what a batch norm's forward pass leaves for its backward pass.
type batchNorm struct {
	layer        *layer
	rows, c      int
	mean, invStd []float32

	before  *gorgonia.Node // what it was given
	again   kernel.Norm    // the same norm, to be applied by the backward pass
	moments kernel.Moments
	scratch []float32
}

// remember sets again to the norm with mean and invStd. To Moments these are statistics of one row, the mean itself:
// its variance is 0, and invStd is in gamma.
func (b *batchNorm) remember(gamma, beta []float32, ws *kernel.Workspace) {
	c := b.c
	if b.scratch == nil {
		b.scratch = make([]float32, 6*c)
	}
	part := func(i int) []float32 { return b.scratch[i*c:][:c] }
	scale, ones := part(0), part(1)
	for i := range scale {
		scale[i], ones[i] = gamma[i]*b.invStd[i], 1
	}
	pixel := kernel.Conv{N: 1, H: 1, W: 1, C: c, K: c, R: 1, S: 1, Stride: 1}
	kernel.DepthwiseForwardNorm(pixel, b.mean, nil, ones, part(2), &b.moments, ws)
	b.moments.Norm(scale, beta, 1, b.layer.activation, part(3), part(4), part(5), &b.again)
}

// normGradient makes one operation that computes all three gradients, and one for each parameter that hands on its
// gradient: an operation has one output. It reads the convolution's output, not the norm's, and writes over grad.
func (g *graph) normGradient(b *batchNorm, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, shape := b.layer, g.shape(b.layer.out)
	dx := g.reserve(product(shape), memoryOf(grad))
	toGamma, toBeta := g.gradientOf(l.weight+1), g.gradientOf(l.weight+2)
	o := g.newOp("batch norm gradient", dx, shape...)
	o.run = func(in [][]float32) error {
		x, dy, gamma, beta := in[0], in[1], in[2], in[3]
		kernel.BatchNormBackward(b.rows, b.c, x, dy, gamma, beta, b.mean, b.invStd, l.activation, dx.data, toGamma, toBeta)
		return nil
	}
	node, err := g.apply(o, inputs[0], grad, inputs[1], inputs[2])
	if err != nil {
		return nil, err
	}
	written := func([][]float32, []float32) {} // by the operation above
	beta, err := g.gradient(l.weight+2, written, node)
	if err != nil {
		return nil, err
	}
	gamma, err := g.gradient(l.weight+1, written, node)
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{node, gamma, beta}, nil
}
