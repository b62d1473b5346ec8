package nn

import (
	"fmt"
	"math"

	"pupil/internal/kernel"
)

// Inference is a frozen network in evaluation mode for a fixed batch. Batch norms are folded into the convolutions. It
// is not safe for concurrent use.
type Inference struct{ graph *graph }

// NewInference builds a graph with the weights and running statistics that s has now.
func (n *Network) NewInference(s *State, batch int) (*Inference, error) {
	if len(s.Params) != n.paramsLen || len(s.Buffers) != n.buffersLen {
		return nil, fmt.Errorf("nn: inference: the state has %d parameters and %d buffers; the network has %d and %d",
			len(s.Params), len(s.Buffers), n.paramsLen, n.buffersLen)
	}
	var outputs []int
	for _, o := range []Output{Logits, Pooled, Projection} {
		if v := n.output(o); v >= 0 {
			outputs = append(outputs, v)
		}
	}
	i := &Inference{}
	var err error
	i.graph, err = newGraph(n, batch, nil, func(g *graph) error {
		g.frozen = s
		return g.forward(outputs)
	})
	if err != nil {
		return nil, err
	}
	i.graph.frozen = nil
	return i, nil
}

// Run computes the outputs of images [batch, height, width, channels]: pooled [batch, Features] and logits
// [batch, outputs], nil without a classifier. They are buffers of the Inference, valid until the next Run.
func (i *Inference) Run(images []float32) (pooled, logits []float32, err error) {
	if err := i.graph.run(images); err != nil {
		return nil, nil, err
	}
	return i.Output(Pooled), i.Output(Logits), nil
}

// Output is what the last Run computed of an output, [batch, Width], nil if the network does not have it. It is a
// buffer of the Inference, valid until the next Run.
func (i *Inference) Output(o Output) []float32 {
	v := i.graph.net.output(o)
	if v < 0 || i.graph.values == nil {
		return nil
	}
	return i.graph.values[v].data
}

// Bytes is the memory of activations, which the graph keeps between runs.
func (i *Inference) Bytes() int64 { return i.graph.arena.bytes }

// Close releases the graph. No Run may follow.
func (i *Inference) Close() { i.graph.close() }

// foldedConv adds activation(convolution(x, W') + shift) where W' = W scale, scale = gamma / sqrt(variance + eps) and
// shift = beta - mean scale, all by output channel; computed in float64.
func (g *graph) foldedConv(l *layer) error {
	x := g.operand(l.in[0])
	data, shape := g.buffer(l.out), g.shape(l.out)
	g.consume(l.in[0])
	w, ones, shift := g.fold(l)
	conv, c := g.convolution(l), shape[3]
	rows := len(data) / c
	o := g.newOp("folded convolution", data, shape...)
	o.run = func(in [][]float32) error {
		conv.forward(in[0], w, data)
		kernel.ScaleShift(rows, c, data, ones, shift, l.activation, data)
		return nil
	}
	n, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, n, data)
}

func (g *graph) fold(l *layer) (w, ones, shift []float32) {
	weights := g.constant(l.weight)
	gamma, beta := g.constant(l.weight+1), g.constant(l.weight+2)
	mean, variance := g.running(l.mean), g.running(l.mean+1)
	k := len(gamma)
	w, ones, shift = make([]float32, len(weights)), make([]float32, k), make([]float32, k)
	scale := make([]float64, k)
	for i := range scale {
		scale[i] = float64(gamma[i]) / math.Sqrt(float64(variance[i])+float64(l.eps))
		ones[i] = 1
		shift[i] = float32(float64(beta[i]) - float64(float64(mean[i])*scale[i]))
	}
	for i, v := range weights { // [R, S, C, K] and depthwise [R, S, K]: the output channel is last
		w[i] = float32(float64(v) * scale[i%k])
	}
	return w, ones, shift
}

func (g *graph) constant(param int) []float32 {
	p := g.net.params[param].Tensor
	return g.frozen.Params[p.Offset:][:p.Len]
}

func (g *graph) running(buffer int) []float32 {
	b := g.net.buffers[buffer].Tensor
	return g.frozen.Buffers[b.Offset:][:b.Len]
}

// frozenLinear adds activation(x W + b) with a copy of the weights.
func (g *graph) frozenLinear(l *layer) error {
	x := g.operand(l.in[0])
	data, shape := g.buffer(l.out), g.shape(l.out)
	g.consume(l.in[0])
	n, c, k := g.batch, g.net.values[l.in[0]].c, shape[3]
	w := append([]float32(nil), g.constant(l.weight)...)
	bias := append([]float32(nil), g.constant(l.weight+1)...)
	o := g.newOp("frozen linear", data, shape...)
	o.run = func(in [][]float32) error {
		kernel.Gemm(false, false, n, k, c, in[0], c, w, k, false, data, k, g.ws)
		kernel.AddBias(n, k, data, bias)
		if l.activation != kernel.Identity {
			kernel.ActForward(l.activation, data, data)
		}
		return nil
	}
	node, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, node, data)
}
