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
	from    int // the value that is given to it: 0, the images, but in later stages of an inference
	batch   int
	expr    *gorgonia.ExprGraph
	machine gorgonia.VM
	images  *gorgonia.Node
	ws      *kernel.Workspace
	salt    uint64 // of the hashes
	ops     int

	train  *Training // nil: inference
	frozen *Frozen   // of an inference; nil where it is only planned

	// of the plan
	dry      bool            // it is only planned: there is no memory, and no run
	values   []activation    // by value
	into     map[int]*memory // of the caller, by the value that goes there
	memories []*memory
	made     []*op
	ready    []func() // what follows when there is memory
	bytes    int64

	// of a run
	next  int   // place of the next operation
	fault error // first error of an operation
}

// activation is a value of the network in the graph.
type activation struct {
	node *gorgonia.Node
	dst  *memory
	uses int        // consumers
	kept bool       // the backward pass reads it
	thin bool       // only a convolution reads it, which can apply the norm itself: it is not in memory
	norm *batchNorm // that made it from its convolution's output, in training
	fork *fork      // when the value has several consumers whose gradients must be summed
}

// maxSalts bounds the attempts to find hashes without a collision: a graph of 1,000 nodes has one in 10,000 times.
const maxSalts = 8

var errClosed = errors.New("nn: the graph is closed")

var errCollision = errors.New("nn: two nodes of the graph have the same hash")

// newGraph builds a graph with build, and compiles it; a dry one only plans its memory.
func newGraph(
	n *Network, batch int, train *Training, dry bool, build func(*graph) error,
) (g *graph, err error) {
	return newGraphFrom(n, 0, batch, train, dry, build)
}

func newGraphFrom(
	n *Network, from, batch int, train *Training, dry bool, build func(*graph) error,
) (g *graph, err error) {
	if batch < 1 {
		return nil, fmt.Errorf("nn: batch is %d; it must be at least 1", batch)
	}
	for salt := range uint64(maxSalts) {
		g = &graph{
			net: n, from: from, batch: batch, train: train, salt: salt, ws: new(kernel.Workspace),
			expr: gorgonia.NewGraph(), dry: dry,
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
	v := g.net.values[g.from]
	g.images = g.input("images", tensor.Shape{g.batch, v.h, v.w, v.c})
	if err := build(g); err != nil {
		return err
	}
	n := place(g.memories)
	g.bytes += 4 * int64(n)
	if g.dry {
		return nil
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
	g.lay(n)
	return nil
}

// lay makes the memory of n elements that was planned.
func (g *graph) lay(n int) {
	lay(g.memories, n)
	for _, o := range g.made {
		if o.dst != nil {
			o.out = dense(o.dst.data, o.shape...)
		}
	}
	for _, f := range g.ready {
		f()
	}
	g.memories, g.made, g.ready = nil, nil, nil
}

// whenReady calls f when there is memory, unless the graph is dry. f may keep memory of its own: bytes is how much.
func (g *graph) whenReady(bytes int, f func()) {
	g.bytes += int64(bytes)
	g.ready = append(g.ready, f)
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
	v := g.net.values[g.from]
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

// newOp makes an operation whose output is dst in the given shape; without dst it is a scalar.
func (g *graph) newOp(name string, dst *memory, shape ...int) *op {
	o := &op{graph: g, id: g.ops, name: name, shape: tensor.Shape(shape), dst: dst}
	g.ops++
	g.made = append(g.made, o)
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
		if m := memoryOf(c); m != nil {
			m.touch(o.id)
		}
	}
	if o.dst != nil {
		o.dst.touch(o.id)
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

// memoryOf is the memory of a node's value, nil for inputs and scalars.
func memoryOf(n *gorgonia.Node) *memory {
	if o, ok := n.Op().(*op); ok {
		return o.dst
	}
	return nil
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
// the backward pass reads in any case: beside these, convolutions read what made the value where a batch norm did.
func (g *graph) plan(layers []layer, to []int) {
	g.values = make([]activation, len(g.net.values))
	g.values[0] = activation{node: g.images}
	for i := range layers {
		l := &layers[i]
		for _, v := range l.in {
			a := &g.values[v]
			a.uses++
			a.kept = a.kept || l.kind == linear || l.kind == gate
			a.thin = a.uses == 1 && l.absorbs()
		}
	}
	for _, v := range to {
		g.values[v].uses++
		g.values[v].thin = false
	}
}

func (g *graph) layer(l *layer) error {
	switch l.kind {
	case convNorm:
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

// output reserves memory for the output of a layer.
func (g *graph) output(v int, over ...*memory) *memory {
	if m := g.into[v]; m != nil {
		return m
	}
	return g.reserve(g.batch*g.net.values[v].size(), over...)
}

// produce makes n the node of value v. In training a value with several consumers gets a fork.
func (g *graph) produce(v int, n *gorgonia.Node) error {
	a := &g.values[v]
	a.node, a.dst = n, memoryOf(n)
	if g.train != nil && a.uses > 1 {
		return g.addFork(a, g.shape(v))
	}
	return nil
}
