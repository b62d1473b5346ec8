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

// forwardThrough reads x through a norm, which may be nil, and gathers the moments of y.
func (c convolution) forwardThrough(x []float32, in *kernel.Norm, w, y []float32, m *kernel.Moments) {
	if c.depthwise {
		kernel.DepthwiseForwardNorm(c.Conv, x, in, w, y, m, c.ws)
	} else {
		kernel.ConvForwardNorm(c.Conv, x, in, w, y, m, c.ws)
	}
}

func (c convolution) backwardData(dy, w, dx []float32) {
	if c.depthwise {
		kernel.DepthwiseBackwardData(c.Conv, dy, w, dx, c.ws)
	} else {
		kernel.ConvBackwardData(c.Conv, dy, w, dx, c.ws)
	}
}

// backwardThrough is backwardData where the input was x behind a norm: it goes on to what the norm gives its activation,
// and gathers that.
func (c convolution) backwardThrough(dy, w []float32, in *kernel.Norm, x, dz []float32, s *kernel.NormGradient) {
	if c.depthwise {
		kernel.DepthwiseBackwardDataNorm(c.Conv, dy, w, in, x, dz, s, c.ws)
	} else {
		kernel.ConvBackwardDataNorm(c.Conv, dy, w, in, x, dz, s, c.ws)
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

// backward computes both gradients at once.
func (c convolution) backward(b *kernel.Backward) {
	if c.depthwise {
		kernel.DepthwiseBackward(c.Conv, b, c.ws)
	} else {
		kernel.ConvBackward(c.Conv, b, c.ws)
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
	b := newBatchNorm(l, rows)
	b.fused = x.route != nowhere && conv.Fused(l.depthwise) && (x.thin || !l.depthwise)
	var in *kernel.Norm
	if x.thin {
		in = &x.norm.norm
	}
	o := g.newOp("convolution", z, shape...)
	o.run = func(children [][]float32) error {
		conv.forwardThrough(children[0], in, children[1], z.data, &b.moments)
		return nil
	}
	o.wrt = []bool{x.route == direct, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.convGradient(b, x, inputs, grad)
	}
	var err error
	if b.before, err = g.apply(o, x.node, g.param(l.weight)); err != nil {
		return err
	}
	return g.norm(b)
}

// convGradient makes dW and dX, in one operation where the kernels can, and no dX where the input needs none. Where a
// batch norm made the input, dW applies it again to what the norm was given, so that only this lives until the backward
// pass; dX goes on through a norm that the convolution has applied.
func (g *graph) convGradient(b *batchNorm, x operand, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, from, norm := b.layer, inputs[0], (*kernel.Norm)(nil)
	if x.norm != nil {
		from, norm = x.norm.before, &x.norm.norm
	}
	if b.fused {
		return g.fusedGradient(b, x, from, norm, inputs[1], grad)
	}
	conv := g.convolution(l)
	dw, err := g.gradient(l.weight, func(in [][]float32, dst []float32) {
		conv.backwardWeights(in[0], norm, in[1], dst)
	}, from, grad)
	if err != nil || x.route == nowhere {
		return gorgonia.Nodes{nil, dw}, err
	}
	shape := g.shape(l.in[0])
	dx := g.reserve(product(shape))
	o := g.newOp("convolution gradient", dx, shape...)
	o.run = func(in [][]float32) error {
		if x.thin {
			conv.backwardThrough(in[0], in[1], norm, in[2], dx.data, &x.norm.sums)
		} else {
			conv.backwardData(in[0], in[1], dx.data)
		}
		return nil
	}
	children := gorgonia.Nodes{grad, inputs[1]}
	if x.thin {
		children = append(children, from)
	}
	node, err := g.apply(o, children...)
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{x.deliver(node), dw}, nil
}

// fusedGradient makes one operation for both gradients, and one that hands on that of the weights: an operation has one
// output. The gradient of the convolution's output is made as it reads that of what the norm gave its activation, grad.
func (g *graph) fusedGradient(
	b *batchNorm, x operand, from *gorgonia.Node, norm *kernel.Norm, weights, grad *gorgonia.Node,
) (gorgonia.Nodes, error) {
	l, conv, shape := b.layer, g.convolution(b.layer), g.shape(b.layer.in[0])
	dx := g.reserve(product(shape), memoryOf(grad), memoryOf(b.before))
	pass := &kernel.Backward{After: &b.sums, In: norm, DW: g.gradientOf(l.weight)}
	if x.thin {
		pass.S = &x.norm.sums
	}
	o := g.newOp("convolution gradients", dx, shape...)
	o.run = func(in [][]float32) error {
		pass.X, pass.W, pass.DX = in[0], in[1], dx.data
		conv.backward(pass)
		return nil
	}
	node, err := g.apply(o, from, weights, b.before, grad)
	if err != nil {
		return nil, err
	}
	dw, err := g.gradient(l.weight, func([][]float32, []float32) {}, node)
	if err != nil {
		return nil, err
	}
	return gorgonia.Nodes{x.deliver(node), dw}, nil
}

// batchNorm is what a batch norm's forward pass leaves for its backward pass.
type batchNorm struct {
	layer        *layer
	rows, c      int
	mean, invStd []float32

	before  *gorgonia.Node // what it is given
	thin    bool           // the layer that reads its output applies it
	fused   bool           // the convolution before it makes the gradient of its own output
	moments kernel.Moments // of what it is given
	norm    kernel.Norm
	sums    kernel.NormGradient
}

func newBatchNorm(l *layer, rows int) *batchNorm {
	c := l.geometry.K
	return &batchNorm{layer: l, rows: rows, c: c, mean: make([]float32, c), invStd: make([]float32, c)}
}

// norm adds batch norm with the batch's statistics, fused with the activation. A thin one takes the statistics only: its
// node has what it was given.
func (g *graph) norm(b *batchNorm) error {
	l, a := b.layer, &g.values[b.layer.out]
	a.norm, b.thin = b, a.thin
	y := memoryOf(b.before)
	if !b.thin {
		y = g.output(l.out)
	}
	toMean, toVariance := g.statistic(l.mean), g.statistic(l.mean+1)
	o := g.newOp("batch norm", y, g.shape(l.out)...)
	o.run = func(in [][]float32) error {
		b.moments.Norm(in[1], in[2], l.eps, l.activation, b.mean, b.invStd, toVariance, &b.norm)
		copy(toMean, b.mean)
		if !b.thin {
			b.norm.Apply(in[0], y.data)
		}
		return nil
	}
	o.wrt = []bool{true, true, true}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.normGradient(b, inputs, grad)
	}
	n, err := g.apply(o, b.before, g.param(l.weight+1), g.param(l.weight+2))
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}

// normGradient makes one operation that computes all three gradients, and one for each parameter that hands on its
// gradient: an operation has one output. It reads the convolution's output, not the norm's. What it hands to a fused
// convolution is the gradient of what the norm gives its activation.
func (g *graph) normGradient(b *batchNorm, inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, shape := b.layer, g.shape(b.layer.out)
	toGamma, toBeta := g.gradientOf(l.weight+1), g.gradientOf(l.weight+2)
	dz := memoryOf(grad)
	if !b.fused || !b.thin && l.activation != kernel.Identity {
		dz = g.reserve(product(shape), dz)
	}
	o := g.newOp("batch norm gradient", dz, shape...)
	o.run = func(in [][]float32) error {
		z, dy := in[0], in[1]
		switch {
		case b.thin:
		case l.activation == kernel.Identity:
			b.sums.Gather(&b.norm, z, dy, dy)
		default:
			b.sums.Gather(&b.norm, z, dy, dz.data)
		}
		b.sums.Finish(b.invStd, toGamma, toBeta)
		if !b.fused {
			b.sums.Apply(dz.data)
		}
		return nil
	}
	node, err := g.apply(o, inputs[0], grad)
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
