package nn

import (
	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
)

// averagePool adds the mean over all pixels: [n,h,w,c] to [n,1,1,c].
func (g *graph) averagePool(l *layer) error {
	x := g.operand(l.in[0])
	y, shape := g.output(l.out), g.shape(l.in[0])
	pixels, c := shape[1]*shape[2], shape[3]
	o := g.newOp("average pool", y, g.batch, 1, 1, c)
	o.run = func(in [][]float32) error {
		kernel.GlobalAvgPoolForward(g.batch, pixels, c, in[0], y.data)
		return nil
	}
	o.wrt = []bool{x.route == direct}
	o.diff = func(_ gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		dx := g.reserve(product(shape))
		o := g.newOp("average pool gradient", dx, shape...)
		o.run = func(in [][]float32) error {
			kernel.GlobalAvgPoolBackward(g.batch, pixels, c, in[0], dx.data)
			return nil
		}
		n, err := g.apply(o, grad)
		if err != nil {
			return nil, err
		}
		return gorgonia.Nodes{x.deliver(n)}, nil
	}
	n, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}

// maxPool adds the maximum of each window. Of equal ones the first gets the gradient, as in torch.
func (g *graph) maxPool(l *layer) error {
	x := g.operand(l.in[0])
	y, shape := g.output(l.out), g.shape(l.out)
	geometry := l.geometry
	geometry.N = g.batch
	var argmax []int32
	if g.train != nil {
		g.whenReady(4*y.size, func() { argmax = make([]int32, y.size) })
	}
	o := g.newOp("max pool", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.MaxPoolForward(geometry, in[0], y.data, argmax)
		return nil
	}
	o.wrt = []bool{x.route == direct}
	o.diff = func(_ gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
		inShape := g.shape(l.in[0])
		dx := g.reserve(product(inShape))
		o := g.newOp("max pool gradient", dx, inShape...)
		o.run = func(in [][]float32) error {
			kernel.MaxPoolBackward(geometry, in[0], argmax, dx.data)
			return nil
		}
		n, err := g.apply(o, grad)
		if err != nil {
			return nil, err
		}
		return gorgonia.Nodes{x.deliver(n)}, nil
	}
	n, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
}
