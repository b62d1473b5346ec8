package nn

import (
	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// route says where the gradient of an operation's input goes.
type route uint8

const (
	nowhere route = iota // the images, and every input in inference
	direct               // by gorgonia, to the operation that made the input
	aside                // to the input's fork
)

// operand is an input of an operation.
type operand struct {
	node  *gorgonia.Node
	route route
	fork  *fork
	norm  *batchNorm // that the backward pass applies again rather than keep the value; nil: it is kept
	thin  bool       // the node has what the norm is given, and the operation applies the norm
}

// fork sums the gradients of a value that has several consumers. gorgonia would add them with operations of its own
// that may write over their inputs. So only the first consumer's gradient goes through gorgonia's differentiation;
// the others leave theirs here. They are later in the forward pass, hence earlier in the backward pass, and their
// gradients are there when that of the first arrives. (gorgonia differentiates an operation only if it has some
// gradient to give it: the others need another input or parameters, which a graph's apply asserts.)
type fork struct {
	taken bool // by the first consumer
	extra []*gorgonia.Node
}

// operand is value v as an input of the next operation.
func (g *graph) operand(v int) operand {
	a := &g.values[v]
	if v == 0 || g.train == nil {
		return operand{node: a.node, route: nowhere}
	}
	x := operand{node: a.node, route: direct, thin: a.thin && a.norm != nil}
	if !a.kept {
		x.norm = a.norm
	}
	switch {
	case a.fork == nil:
	case a.fork.taken:
		x.route, x.fork = aside, a.fork
	default:
		a.fork.taken = true
	}
	return x
}

// deliver takes the gradient of the operand and returns what gorgonia is to know of it.
func (o operand) deliver(grad *gorgonia.Node) *gorgonia.Node {
	switch o.route {
	case direct:
		return grad
	case aside:
		o.fork.extra = append(o.fork.extra, grad)
	}
	return nil
}

// addFork puts a fork, which costs nothing in the forward pass, after a value.
func (g *graph) addFork(a *activation, shape []int) (err error) {
	f := &fork{}
	o := g.newOp("fork", a.dst, shape...)
	o.run = func([][]float32) error { return nil }
	o.wrt = []bool{true}
	o.diff = func(_ gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		for _, extra := range f.extra {
			sum, err := g.addGradients(grad, extra, shape)
			if err != nil {
				return nil, err
			}
			grad = sum
		}
		return gorgonia.Nodes{grad}, nil
	}
	a.fork = f
	a.node, err = g.apply(o, a.node)
	return err
}

// addGradients adds two gradients, in the buffer of the first where nobody else reads it.
func (g *graph) addGradients(x, y *gorgonia.Node, shape []int) (*gorgonia.Node, error) {
	sum := g.reserve(product(shape), memoryOf(x))
	o := g.newOp("sum of gradients", sum, shape...)
	o.run = func(in [][]float32) error {
		kernel.Add(in[0], in[1], sum.data)
		return nil
	}
	return g.apply(o, x, y)
}

// joinBlock is how many elements of a sum are made before the activation goes over them, while they are in the cache.
const joinBlock = 2048

// join adds activation(x + y). The activation is ReLU, whose gradient can be told from its output, or none.
func (g *graph) join(l *layer) error {
	x, y := g.operand(l.in[0]), g.operand(l.in[1])
	// The sum may be written over x or y: each element is read before it is written.
	sum, shape := g.output(l.out, memoryOf(y.node), memoryOf(x.node)), g.shape(l.out)
	o := g.newOp("join", sum, shape...)
	o.run = func(in [][]float32) error {
		data := sum.data
		for at := 0; at < len(data); at += joinBlock {
			end := min(at+joinBlock, len(data))
			kernel.Add(in[0][at:end], in[1][at:end], data[at:end])
			if l.activation != kernel.Identity {
				kernel.ActForward(l.activation, data[at:end], data[at:end])
			}
		}
		return nil
	}
	o.wrt = []bool{x.route == direct, y.route == direct}
	var node *gorgonia.Node
	o.diff = func(_ gorgonia.Nodes, grad *gorgonia.Node) (_ gorgonia.Nodes, err error) {
		if l.activation != kernel.Identity {
			if grad, err = g.joinGradient(l, node, grad); err != nil {
				return nil, err
			}
		}
		return gorgonia.Nodes{x.deliver(grad), y.deliver(grad)}, nil
	}
	var err error
	if node, err = g.apply(o, x.node, y.node); err != nil {
		return err
	}
	return g.produce(l.out, node)
}

// joinGradient is the gradient before the activation: of both summands.
func (g *graph) joinGradient(l *layer, output, grad *gorgonia.Node) (*gorgonia.Node, error) {
	shape := g.shape(l.out)
	dx := g.reserve(product(shape), memoryOf(grad))
	o := g.newOp("join gradient", dx, shape...)
	o.run = func(in [][]float32) error {
		kernel.ActBackward(l.activation, in[0], in[1], dx.data)
		return nil
	}
	return g.apply(o, output, grad)
}

// gate adds x[n,h,w,c] * s[n,c].
func (g *graph) gate(l *layer) error {
	x, s := g.operand(l.in[0]), g.operand(l.in[1])
	y, shape := g.output(l.out, memoryOf(x.node)), g.shape(l.out)
	pixels, c := shape[1]*shape[2], shape[3]
	o := g.newOp("gate", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.ScaleChannels(g.batch, pixels, c, in[0], in[1], y.data)
		return nil
	}
	o.wrt = []bool{x.route == direct, s.route == direct}
	o.diff = func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, ds, err := g.gateGradient(l, inputs, grad)
		if err != nil {
			return nil, err
		}
		return gorgonia.Nodes{x.deliver(dx), s.deliver(ds)}, nil
	}
	n, err := g.apply(o, x.node, s.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}

// gateGradient makes one operation that computes both gradients and a second that hands on that of s: an operation has
// one output.
func (g *graph) gateGradient(l *layer, inputs gorgonia.Nodes, grad *gorgonia.Node) (dx, ds *gorgonia.Node, err error) {
	shape := g.shape(l.out)
	pixels, c := shape[1]*shape[2], shape[3]
	toX, toS := g.reserve(product(shape), memoryOf(grad)), g.reserve(g.batch*c)
	o := g.newOp("gate gradient", toX, shape...)
	o.run = func(in [][]float32) error {
		kernel.ScaleChannelsBackward(g.batch, pixels, c, in[0], in[1], in[2], toX.data, toS.data)
		return nil
	}
	toS.touch(o.id)
	if dx, err = g.apply(o, inputs[0], inputs[1], grad); err != nil {
		return nil, nil, err
	}
	o = g.newOp("gate scale gradient", toS, g.batch, 1, 1, c)
	o.run = func([][]float32) error { return nil }
	if ds, err = g.apply(o, dx); err != nil {
		return nil, nil, err
	}
	return dx, ds, nil
}
