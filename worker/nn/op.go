package nn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"runtime/debug"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// op is one operation of a graph: a kernel, its output, and what symbolic differentiation makes of it. It satisfies
// gorgonia.Op and gorgonia.SDOp.
type op struct {
	graph *graph
	id    int // its place in the order of execution, unique in the graph
	name  string
	shape tensor.Shape // of the output; empty for a scalar
	types []hm.Type    // of the children
	dst   *memory      // of the output; nil for a scalar
	out   gorgonia.Value

	in  [][]float32 // the children's data; nil for a scalar
	run func(in [][]float32) error

	wrt  []bool // children that the output's gradient flows to
	diff func(inputs gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error)
}

var _ gorgonia.SDOp = (*op)(nil)

// Arity is the number of children.
func (o *op) Arity() int { return len(o.types) }

// Type is the concrete type of the operation: no type variables, so that nothing is inferred.
func (o *op) Type() hm.Type {
	signature := append(append([]hm.Type{}, o.types...), typeOf(o.shape))
	return hm.NewFnType(signature...)
}

func typeOf(shape tensor.Shape) hm.Type {
	if shape.Dims() == 0 {
		return tensor.Float32
	}
	return gorgonia.TensorType{Dims: shape.Dims(), Of: tensor.Float32}
}

// InferShape returns the shape that was fixed when the operation was made.
func (o *op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.shape, nil }

// Do runs the kernel. It is called on the machine's goroutine, where a panic would end the process: it becomes an
// error.
func (o *op) Do(values ...gorgonia.Value) (_ gorgonia.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("nn: %s: panic: %v\n%s", o, r, debug.Stack())
		}
		if err != nil && o.graph.fault == nil {
			o.graph.fault = err
		}
	}()
	if o.graph.next != o.id {
		return nil, fmt.Errorf("nn: %s is executed at place %d; buffers are planned for the order of creation",
			o, o.graph.next)
	}
	o.graph.next++
	if len(values) != len(o.in) {
		return nil, fmt.Errorf("nn: %s has %d inputs, got %d", o, len(o.in), len(values))
	}
	for i, v := range values {
		if t, ok := v.(*tensor.Dense); ok {
			o.in[i] = t.Float32s()
		}
	}
	if err := o.run(o.in); err != nil {
		return nil, err
	}
	return o.out, nil
}

// ReturnsPtr is false: the machine must not write to the output.
func (o *op) ReturnsPtr() bool { return false }

// CallsExtern is false: there is no cgo.
func (o *op) CallsExtern() bool { return false }

// OverwritesInput is -1: buffers are planned here, not by the machine.
func (o *op) OverwritesInput() int { return -1 }

// WriteHash writes a hash that no other operation of the graph has. gorgonia merges nodes of equal hash.
func (o *op) WriteHash(h hash.Hash) {
	fmt.Fprintf(h, "pupil/%s/", o.name)
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], uint64(o.id))
	binary.LittleEndian.PutUint64(id[8:], o.graph.salt)
	h.Write(id[:])
}

// Hashcode is the hash in 32 bits.
func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String is the operation's name and place.
func (o *op) String() string { return fmt.Sprintf("%s (operation %d)", o.name, o.id) }

// DiffWRT says which children the gradient flows to. Where it is false although the child needs a gradient, the
// gradient goes through a fork.
func (o *op) DiffWRT(int) []bool { return o.wrt }

// SymDiff makes the operations that compute the children's gradients.
func (o *op) SymDiff(inputs gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if o.diff == nil {
		return nil, errors.New("nn: " + o.String() + " has no gradient")
	}
	return o.diff(inputs, grad)
}
