package nn

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Criterion is a loss. It is called in the forward pass with the network's output [batch, width] and fills gradient,
// of the same shape, with the derivative of the loss that is to be descended. Both slices are valid during the call.
// It may block, for example on a sum over all lanes. Its error ends the run.
type Criterion func(features []float32, gradient []float32) (loss float64, err error)

// TrainingConfig is what a lane's graph needs beside the network and its state.
type TrainingConfig struct {
	Batch  int       // images of a run
	Output Output    // what Loss sees
	Loss   Criterion //

	Gradients  []float32 // written by each run: laid out like State.Params
	Statistics []float32 // written by each run: batch mean and unbiased batch variance, laid out like State.Buffers

	// OnGradient is called in the backward pass when the gradient of Params()[param] has been written, once for each
	// parameter, from the last to the first. Parameters without influence (a classifier when Output is Pooled) have
	// gradient 0. Statistics are complete when the first call comes. Nil: no calls.
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
	last := n.logits
	if c.Output == Pooled {
		last = n.pooled
	}
	t := &Training{state: s, config: c}
	var err error
	t.graph, err = newGraph(n, c.Batch, t, func(g *graph) error {
		t.graph, t.nodes, t.wrt = g, map[int]*gorgonia.Node{}, nil
		if err := g.forward(last); err != nil {
			return err
		}
		return g.backward(last)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (n *Network) checkTraining(s *State, c TrainingConfig) error {
	switch {
	case c.Loss == nil:
		return fmt.Errorf("there is no criterion")
	case c.Output > Pooled:
		return fmt.Errorf("output %d is not known", c.Output)
	case c.Output == Logits && n.logits < 0:
		return fmt.Errorf("the network has no classifier (outputs is 0): its output is pooled")
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

// Run computes loss, gradients and batch statistics of images [batch, height, width, channels]. After an error, which
// is the criterion's own where it comes from there, gradients and statistics are partly written; another Run may
// follow.
func (t *Training) Run(images []float32) error { return t.graph.run(images) }

// Bytes is the memory of activations and their gradients, which the graph keeps between runs.
func (t *Training) Bytes() int64 { return t.graph.arena.bytes }

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
	value := dense(t.state.Params[p.Offset:][:p.Len:p.Len], shape...)
	n := gorgonia.NewTensor(g.expr, tensor.Float32, len(shape), gorgonia.WithName(p.Name), gorgonia.WithShape(shape...),
		gorgonia.WithValue(value))
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
	p := g.net.params[param].Tensor
	return g.train.config.Gradients[p.Offset:][:p.Len:p.Len]
}

// statistic is a buffer's part of the statistics.
func (g *graph) statistic(i int) []float32 {
	b := g.net.buffers[i].Tensor
	return g.train.config.Statistics[b.Offset:][:b.Len:b.Len]
}

// gradient adds the operation that completes a parameter's gradient: run writes it straight into the caller's vector.
func (g *graph) gradient(
	param int, run func(in [][]float32, dst []float32), children ...*gorgonia.Node,
) (*gorgonia.Node, error) {
	dst := g.gradientOf(param)
	o := g.newOp("gradient of "+g.net.params[param].Name, dst, g.net.params[param].inner()...)
	o.run = func(in [][]float32) error {
		run(in, dst)
		g.train.written(param)
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
func (g *graph) backward(last int) error {
	cost, err := g.loss(last)
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

// loss adds the operation that calls the criterion. Its gradient operation is the first of the backward pass.
func (g *graph) loss(v int) (*gorgonia.Node, error) {
	x := g.operand(v)
	c := &g.train.config
	shape := g.shape(v)
	gradient := g.arena.get(product(shape))
	g.consume(v)
	o := g.newOp("loss", nil)
	o.run = func(in [][]float32) error {
		loss, err := c.Loss(in[0], gradient)
		o.out = gorgonia.NewF32(float32(loss))
		return err
	}
	o.wrt = []bool{true}
	var node *gorgonia.Node
	o.diff = func(gorgonia.Nodes, *gorgonia.Node) (gorgonia.Nodes, error) {
		o := g.newOp("loss gradient", gradient, shape...)
		o.run = func([][]float32) error {
			g.unused()
			return nil
		}
		n, err := g.apply(o, node)
		if err != nil {
			return nil, err
		}
		g.hold(n, gradient)
		return gorgonia.Nodes{n}, nil
	}
	var err error
	node, err = g.apply(o, x.node)
	return node, err
}

// unused gives the parameters that are not in the graph, which are the last, gradient 0.
func (g *graph) unused() {
	for i := len(g.net.params) - 1; i >= 0; i-- {
		if _, used := g.train.nodes[i]; !used {
			clear(g.gradientOf(i))
			g.train.written(i)
		}
	}
}
