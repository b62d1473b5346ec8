package nn

import (
	"fmt"
	"math"
	"slices"

	"pupil/internal/kernel"
)

// Inference is a frozen network in evaluation mode for a fixed batch. Batch norms are folded into the convolutions. It
// is not safe for concurrent use.
type Inference struct {
	graph   *graph
	outputs []int // values that are there after a run
}

// NewInference builds a graph with the weights and running statistics that s has now. It computes logits, pooled
// features and projection, and when asked also the FeatureMap, whose memory it then keeps.
func (n *Network) NewInference(s *State, batch int, also ...Output) (*Inference, error) {
	if err := checkAlso(also); err != nil {
		return nil, err
	}
	if len(s.Params) != n.paramsLen || len(s.Buffers) != n.buffersLen {
		return nil, fmt.Errorf("nn: inference: the state has %d parameters and %d buffers; the network has %d and %d",
			len(s.Params), len(s.Buffers), n.paramsLen, n.buffersLen)
	}
	i := &Inference{outputs: n.inferred(also)}
	var err error
	i.graph, err = newGraph(n, batch, nil, false, func(g *graph) error {
		g.frozen = s
		return g.infer(i.outputs)
	})
	if err != nil {
		return nil, err
	}
	i.graph.frozen = nil
	return i, nil
}

// checkAlso refuses what is not among the outputs; those that an inference has anyhow may be named.
func checkAlso(also []Output) error {
	for _, o := range also {
		if o > FeatureMap {
			return fmt.Errorf("nn: inference: %s is not known; there are logits, pooled, projection and feature map", o)
		}
	}
	return nil
}

// inferred lists the values that an inference computes.
func (n *Network) inferred(also []Output) (values []int) {
	for _, o := range append([]Output{Logits, Pooled, Projection}, also...) {
		if v := n.output(o); v >= 0 && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// infer adds the layers of the outputs.
func (g *graph) infer(outputs []int) error {
	if err := g.forward(outputs); err != nil {
		return err
	}
	for _, v := range outputs {
		g.values[v].dst.keep()
	}
	return nil
}

// Run computes the outputs of images [batch, height, width, channels]: pooled [batch, Features] and logits
// [batch, outputs], nil without a classifier. They are buffers of the Inference, valid until the next Run.
func (i *Inference) Run(images []float32) (pooled, logits []float32, err error) {
	if err := i.graph.run(images); err != nil {
		return nil, nil, err
	}
	return i.Output(Pooled), i.Output(Logits), nil
}

// Output is what the last Run computed of an output, [batch, Width] or the feature map. It is nil if the network does
// not have it or nobody asked for it. It is a buffer of the Inference, valid until the next Run.
func (i *Inference) Output(o Output) []float32 {
	v := i.graph.net.output(o)
	if i.graph.values == nil || !slices.Contains(i.outputs, v) {
		return nil
	}
	return i.graph.values[v].dst.data
}

// Bytes is the memory of activations, which the graph keeps between runs.
func (i *Inference) Bytes() int64 { return i.graph.bytes }

// Close releases the graph. No Run may follow.
func (i *Inference) Close() { i.graph.close() }

// foldedConv adds activation(convolution(x, W') + shift) where W' = W scale, scale = gamma / sqrt(variance + eps) and
// shift = beta - mean scale, all by output channel; computed in float64.
func (g *graph) foldedConv(l *layer) error {
	x := g.operand(l.in[0])
	y, shape := g.output(l.out), g.shape(l.out)
	var w, ones, shift []float32
	g.whenReady(0, func() { w, ones, shift = g.fold(l) })
	conv, c := g.convolution(l), shape[3]
	rows := y.size / c
	o := g.newOp("folded convolution", y, shape...)
	o.run = func(in [][]float32) error {
		conv.forward(in[0], w, y.data)
		kernel.ScaleShift(rows, c, y.data, ones, shift, l.activation, y.data)
		return nil
	}
	n, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, n)
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
	y, shape := g.output(l.out), g.shape(l.out)
	n, c, k := g.batch, g.net.values[l.in[0]].c, shape[3]
	var w, bias []float32
	g.whenReady(0, func() { w, bias = slices.Clone(g.constant(l.weight)), slices.Clone(g.constant(l.weight+1)) })
	o := g.newOp("frozen linear", y, shape...)
	o.run = func(in [][]float32) error {
		kernel.Gemm(false, false, n, k, c, in[0], c, w, k, false, y.data, k, g.ws)
		kernel.AddBias(n, k, y.data, bias)
		if l.activation != kernel.Identity {
			kernel.ActForward(l.activation, y.data, y.data)
		}
		return nil
	}
	node, err := g.apply(o, x.node)
	if err != nil {
		return err
	}
	return g.produce(l.out, node)
}
