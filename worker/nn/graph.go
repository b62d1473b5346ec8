package nn

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"pupil/internal/kernel"
)

// graph is a network being built, and then run, as a gorgonia graph for a fixed batch.
type graph struct {
	net     *Network
	batch   int
	expr    *gorgonia.ExprGraph
	machine gorgonia.VM
	images  *gorgonia.Node
	ws      *kernel.Workspace
	salt    uint64 // of the hashes
	ops     int

	train  *Training // nil: inference
	frozen *State    // of an inference, while it is built

	// of the plan
	arena  arena
	values []activation                // by value
	grads  map[*gorgonia.Node]*holding // buffers of gradients

	// of a run
	next  int   // place of the next operation
	fault error // first error of an operation
}

// activation is a value of the network in the graph.
type activation struct {
	node *gorgonia.Node
	data []float32
	uses int   // consumers that are not built yet
	keep bool  // the backward pass reads it
	fork *fork // when the value has several consumers whose gradients must be summed
}

// holding is a gradient's buffer and the number of consumers that are not built yet.
type holding struct {
	data []float32
	uses int
}

// maxSalts bounds the attempts to find hashes without a collision: a graph of 1,000 nodes has one in 10,000 times.
const maxSalts = 8

var errClosed = errors.New("nn: the graph is closed")

var errCollision = errors.New("nn: two nodes of the graph have the same hash")

// newGraph builds a graph with build, and compiles it.
func newGraph(n *Network, batch int, train *Training, build func(*graph) error) (g *graph, err error) {
	if batch < 1 {
		return nil, fmt.Errorf("nn: batch is %d; it must be at least 1", batch)
	}
	for salt := range uint64(maxSalts) {
		g = &graph{
			net: n, batch: batch, train: train, salt: salt, ws: new(kernel.Workspace),
			expr: gorgonia.NewGraph(), grads: map[*gorgonia.Node]*holding{},
		}
		if err = g.compile(build); !errors.Is(err, errCollision) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// compile turns gorgonia's panics, all of them broken invariants, into errors.
func (g *graph) compile(build func(*graph) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("nn: building the graph: %v", r)
		}
	}()
	v := g.net.values[0]
	g.images = g.input("images", tensor.Shape{g.batch, v.h, v.w, v.c})
	if err := build(g); err != nil {
		return err
	}
	seen := map[uint32]bool{}
	for _, n := range g.expr.AllNodes() {
		if seen[n.Hashcode()] {
			return errCollision
		}
		seen[n.Hashcode()] = true
	}
	g.machine = gorgonia.NewTapeMachine(g.expr)
	runtime.SetFinalizer(g.machine, nil) // it does nothing, and would keep the cycle of machine and operations for ever
	g.grads, g.arena.free = nil, nil
	return nil
}

func (g *graph) input(name string, shape tensor.Shape) *gorgonia.Node {
	return gorgonia.NewTensor(g.expr, tensor.Float32, shape.Dims(),
		gorgonia.WithName(name), gorgonia.WithShape(shape...))
}

// run executes the graph. An error of an operation comes back as it is.
func (g *graph) run(images []float32) error {
	if g.machine == nil {
		return errClosed
	}
	v := g.net.values[0]
	if want := g.batch * v.size(); len(images) != want {
		return fmt.Errorf("nn: %d values of images; a batch of %d images of %dx%dx%d has %d",
			len(images), g.batch, v.h, v.w, v.c, want)
	}
	if err := gorgonia.Let(g.images, dense(images, g.batch, v.h, v.w, v.c)); err != nil {
		return fmt.Errorf("nn: images: %w", err)
	}
	g.next, g.fault = 0, nil
	g.machine.Reset()
	err := g.machine.RunAll()
	switch {
	case g.fault != nil:
		return g.fault
	case err != nil:
		return fmt.Errorf("nn: %w", err)
	case g.next != g.ops:
		return fmt.Errorf("nn: %d of %d operations were executed", g.next, g.ops)
	}
	return nil
}

func (g *graph) close() {
	g.machine, g.expr, g.images, g.values = nil, nil, nil, nil
}

// dense is a tensor over data, which is not copied.
func dense(data []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}

// newOp makes an operation whose output is data in the given shape; without data it is a scalar.
func (g *graph) newOp(name string, data []float32, shape ...int) *op {
	o := &op{graph: g, id: g.ops, name: name, shape: tensor.Shape(shape)}
	g.ops++
	if data != nil {
		o.out = dense(data, shape...)
	}
	return o
}

// apply adds the operation to the graph.
func (g *graph) apply(o *op, children ...*gorgonia.Node) (*gorgonia.Node, error) {
	if g.train != nil && o.diff != nil && !slices.Contains(o.wrt, true) {
		return nil, fmt.Errorf("nn: %s: gorgonia would leave it out of the backward pass: "+
			"let it be the first consumer of its input", o)
	}
	o.types = make([]hm.Type, len(children))
	o.in = make([][]float32, len(children))
	for i, c := range children {
		o.types[i] = c.Type()
	}
	n, err := gorgonia.ApplyOp(o, children...)
	if err != nil {
		return nil, fmt.Errorf("nn: %s: %w", o, err)
	}
	if n.Op() != gorgonia.Op(o) {
		return nil, errCollision
	}
	return n, nil
}

// forward builds the layers that lead to some values.
func (g *graph) forward(to []int) error {
	layers := g.net.leading(to)
	g.plan(layers, to)
	for i := range layers {
		if err := g.layer(&layers[i]); err != nil {
			return err
		}
	}
	return nil
}

// plan counts the consumers of each value, the reader of the values that the graph leads to being one, and says which
// values the backward pass reads.
func (g *graph) plan(layers []layer, to []int) {
	g.values = make([]activation, len(g.net.values))
	g.values[0] = activation{node: g.images, keep: true}
	for i := range layers {
		l := &layers[i]
		for _, v := range l.in {
			a := &g.values[v]
			a.uses++
			a.keep = a.keep || g.train != nil && (l.kind == convNorm || l.kind == linear || l.kind == gate)
		}
		if l.kind == join && l.activation != kernel.Identity {
			g.values[l.out].keep = g.train != nil
		}
	}
	for _, v := range to {
		g.values[v].uses++
	}
}

func (g *graph) layer(l *layer) error {
	switch l.kind {
	case convNorm:
		if g.train == nil {
			return g.foldedConv(l)
		}
		return g.convNorm(l)
	case linear:
		return g.linear(l)
	case join:
		return g.join(l)
	case gate:
		return g.gate(l)
	case averagePool:
		return g.averagePool(l)
	default:
		return g.maxPool(l)
	}
}

// shape is a value's shape in the graph.
func (g *graph) shape(v int) []int {
	s := g.net.values[v]
	return []int{g.batch, s.h, s.w, s.c}
}

// buffer plans the output of a layer.
func (g *graph) buffer(v int) []float32 { return g.arena.get(g.batch * g.net.values[v].size()) }

// produce makes n the node of value v. In training a value with several consumers gets a fork.
func (g *graph) produce(v int, n *gorgonia.Node, data []float32) error {
	a := &g.values[v]
	a.node, a.data = n, data
	if g.train != nil && a.uses > 1 {
		return g.addFork(a, g.shape(v))
	}
	return nil
}

// consume is one use of a value by the next operation. After the last one the buffer is free, unless backward needs it.
func (g *graph) consume(v int) {
	a := &g.values[v]
	a.uses--
	if a.uses == 0 && !a.keep {
		g.arena.put(a.data)
	}
}

// retire frees a value's buffer when the gradient of its producer has been built: nothing reads it any more.
func (g *graph) retire(v int) {
	if a := &g.values[v]; a.keep {
		g.arena.put(a.data)
	}
}

// hold registers a gradient's buffer with one consumer.
func (g *graph) hold(n *gorgonia.Node, data []float32) { g.grads[n] = &holding{data, 1} }

// release is one use of a gradient; after the last one its buffer is free.
func (g *graph) release(n *gorgonia.Node) {
	if h := g.grads[n]; h != nil {
		h.uses--
		if h.uses == 0 {
			g.arena.put(h.data)
			delete(g.grads, n)
		}
	}
}
