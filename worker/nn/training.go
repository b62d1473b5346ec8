package nn

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Criterion is a loss. It is called in the forward pass with the network's outputs, [batch, width] each, in the order
// of TrainingConfig.Outputs, and fills every element of gradients, of the same shapes, with the derivative of the loss
// that is to be descended. The slices are valid during the call. It may block, for example on a sum over all lanes. Its
// error ends the run.
type Criterion func(features, gradients [][]float32) (loss float64, err error)

// TrainingConfig is what a lane's graph needs beside the network and its state.
type TrainingConfig struct {
	Batch   int       // images of a run
	Outputs []Output  // what Loss sees: one or more, each once
	Loss    Criterion //

	Gradients  []float32 // written by each run: laid out like State.Params
	Statistics []float32 // written by each run: batch mean and unbiased batch variance, laid out like State.Buffers

	// OnGradient is called in the backward pass when the gradient of Params()[param] has been written, once for each
	// parameter, from the last to the first. Parameters without influence (a classifier when Outputs has no
	// Logits) have gradient 0. Statistics are complete when the first call comes. Nil: no calls.
	OnGradient func(param int)
}

// Training is the graph of one lane: forward, loss and backward of a batch. It is not safe for concurrent use.
type Training struct {
	graph  *graph
	state  *State
	config TrainingConfig
	nodes  map[int]*gorgonia.Node // by parameter
	wrt    []int                  // parameters in the order in which the graph got them
}

// NewTraining builds a lane's graph. It reads s.Params during Run, and shares it with other lanes.
func (n *Network) NewTraining(s *State, c TrainingConfig) (*Training, error) {
	if err := n.checkTraining(s, c); err != nil {
		return nil, fmt.Errorf("nn: training: %w", err)
	}
	c.Outputs = slices.Clone(c.Outputs)
	outputs := make([]int, len(c.Outputs))
	for i, o := range c.Outputs {
		outputs[i] = n.output(o)
	}
	t := &Training{state: s, config: c}
	var err error
	t.graph, err = newGraph(n, c.Batch, t, false, func(g *graph) error { return t.build(g, outputs) })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// build adds the whole graph of a step. It may be called more than once.
func (t *Training) build(g *graph, outputs []int) error {
	t.graph, t.nodes, t.wrt = g, map[int]*gorgonia.Node{}, nil
	if err := g.forward(outputs); err != nil {
		return err
	}
	return g.backward(outputs)
}

func (n *Network) checkTraining(s *State, c TrainingConfig) error {
	if err := n.checkOutputs(c.Outputs); err != nil {
		return err
	}
	switch {
	case c.Loss == nil:
		return fmt.Errorf("there is no criterion")
	case len(s.Params) != n.paramsLen || len(s.Buffers) != n.buffersLen:
		return fmt.Errorf("the state has %d parameters and %d buffers; the network has %d and %d",
			len(s.Params), len(s.Buffers), n.paramsLen, n.buffersLen)
	case len(c.Gradients) != n.paramsLen:
		return fmt.Errorf("gradients has %d elements; the network has %d parameters", len(c.Gradients), n.paramsLen)
	case len(c.Statistics) != n.buffersLen:
		return fmt.Errorf("statistics has %d elements; the network has %d", len(c.Statistics), n.buffersLen)
	}
	return nil
}

func (n *Network) checkOutputs(outputs []Output) error {
	if len(outputs) == 0 {
		return fmt.Errorf("there are no outputs for the criterion; name at least one of logits, pooled and projection")
	}
	for i, o := range outputs {
		switch {
		case o == FeatureMap:
			return fmt.Errorf("a criterion cannot see the feature map; name logits, pooled or projection")
		case o > Projection:
			return fmt.Errorf("%s is not known; there are logits, pooled and projection", o)
		case slices.Contains(outputs[:i], o):
			return fmt.Errorf("outputs has %s twice; the criterion can use one for several terms", o)
		case o == Logits && n.logits < 0:
			return fmt.Errorf("the network has no classifier (outputs is 0): it has no logits")
		case o == Projection && n.projection < 0:
			return fmt.Errorf("the network has no projection (projection is 0)")
		}
	}
	return nil
}

// Run computes loss, gradients and batch statistics of images [batch, height, width, channels]. After an error, which
// is the criterion's own where it comes from there, gradients and statistics are partly written; another Run may
// follow.
func (t *Training) Run(images []float32) error { return t.graph.run(images) }

// Bytes is the memory of activations and their gradients, which the graph keeps between runs.
func (t *Training) Bytes() int64 { return t.graph.bytes }

// Close releases the graph. No Run may follow.
func (t *Training) Close() { t.graph.close() }

// param is the input node of a parameter; its value is the state's memory.
func (g *graph) param(i int) *gorgonia.Node {
	t := g.train
	if n, ok := t.nodes[i]; ok {
		return n
	}
	p := g.net.params[i].Tensor
	shape := p.inner()
	n := g.input(p.Name, tensor.Shape(shape))
	if !g.dry {
		gorgonia.WithValue(dense(t.state.Params[p.Offset:][:p.Len:p.Len], shape...))(n)
	}
	t.nodes[i] = n
	t.wrt = append(t.wrt, i)
	return n
}

// inner is the shape of a parameter inside: [R, S, C, K], [C, K] or [C].
func (t Tensor) inner() []int {
	switch s := t.Shape; len(s) {
	case 4:
		return []int{s[2], s[3], s[1], s[0]}
	case 2:
		return []int{s[1], s[0]}
	default:
		return s
	}
}

// gradientOf is a parameter's part of the gradients.
func (g *graph) gradientOf(param int) []float32 {
	if g.dry {
		return nil
	}
	p := g.net.params[param].Tensor
	return g.train.config.Gradients[p.Offset:][:p.Len:p.Len]
}

// statistic is a buffer's part of the statistics.
func (g *graph) statistic(i int) []float32 {
	if g.dry {
		return nil
	}
	b := g.net.buffers[i].Tensor
	return g.train.config.Statistics[b.Offset:][:b.Len:b.Len]
}

// gradient adds the operation that completes a parameter's gradient: run writes it straight into the caller's vector.
func (g *graph) gradient(
	param int, run func(in [][]float32, dst []float32), children ...*gorgonia.Node,
) (*gorgonia.Node, error) {
	dst := g.gradientOf(param)
	o := g.newOp("gradient of "+g.net.params[param].Name, callers(dst), g.net.params[param].inner()...)
	o.run = func(in [][]float32) error {
		run(in, dst)
		g.train.written(param)
		g.unused(param - 1)
		return nil
	}
	return g.apply(o, children...)
}

func (t *Training) written(param int) {
	if t.config.OnGradient != nil {
		t.config.OnGradient(param)
	}
}

// backward adds the loss and everything that symbolic differentiation makes of it.
func (g *graph) backward(outputs []int) error {
	cost, err := g.loss(outputs)
	if err != nil {
		return err
	}
	wrt := make(gorgonia.Nodes, len(g.train.wrt))
	for i, p := range g.train.wrt {
		wrt[i] = g.train.nodes[p]
	}
	// gorgonia.Grad would do, but shares its constant 1 between graphs and so between goroutines.
	one := g.expr.AddNode(gorgonia.NewConstant(float32(1)))
	if _, err := gorgonia.Backpropagate(gorgonia.Nodes{cost}, gorgonia.Nodes{one}, wrt); err != nil {
		return fmt.Errorf("nn: differentiation: %w", err)
	}
	return nil
}

// loss adds the operation that calls the criterion with the values of the outputs.
func (g *graph) loss(outputs []int) (*gorgonia.Node, error) {
	c := &g.train.config
	heads := make([]operand, len(outputs))
	children := make(gorgonia.Nodes, len(outputs))
	gradients := make([]*memory, len(outputs))
	o := g.newOp("loss", nil)
	o.wrt = make([]bool, len(outputs))
	for i, v := range outputs {
		heads[i] = g.operand(v)
		children[i], o.wrt[i] = heads[i].node, heads[i].route == direct
		gradients[i] = g.reserve(product(g.shape(v)))
		gradients[i].touch(o.id)
	}
	toOutputs := make([][]float32, len(outputs))
	g.whenReady(0, func() {
		for i, m := range gradients {
			toOutputs[i] = m.data
		}
	})
	o.run = func(in [][]float32) error {
		loss, err := c.Loss(in, toOutputs)
		o.out = gorgonia.NewF32(float32(loss))
		return err
	}
	var node *gorgonia.Node
	o.diff = func(gorgonia.Nodes, *gorgonia.Node) (gorgonia.Nodes, error) {
		return g.lossGradients(outputs, heads, gradients, node)
	}
	var err error
	node, err = g.apply(o, children...)
	return node, err
}

// lossGradients makes one operation for each output, which hands on the gradient that the criterion has written: an
// operation has one output. They are the first of the backward pass.
func (g *graph) lossGradients(
	outputs []int, heads []operand, gradients []*memory, loss *gorgonia.Node,
) (gorgonia.Nodes, error) {
	nodes := make(gorgonia.Nodes, len(outputs))
	for i, v := range outputs {
		o := g.newOp("loss gradient", gradients[i], g.shape(v)...)
		o.run = func([][]float32) error { return nil }
		if i == 0 {
			o.run = func([][]float32) error {
				g.unused(len(g.net.params) - 1)
				return nil
			}
		}
		n, err := g.apply(o, loss)
		if err != nil {
			return nil, err
		}
		nodes[i] = heads[i].deliver(n)
	}
	return nodes, nil
}

// unused gives the parameters from last downwards that are not in the graph gradient 0, as far as the next that is.
func (g *graph) unused(last int) {
	for i := last; i >= 0; i-- {
		if _, used := g.train.nodes[i]; used {
			return
		}
		clear(g.gradientOf(i))
		g.train.written(i)
	}
}
