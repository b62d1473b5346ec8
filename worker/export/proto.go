package export

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields and values are those of onnx.proto3, IR version 8, which opset 17 belongs to.
const (
	irVersion     = 8
	elementFloat  = 1
	attributeReal = 1
	attributeInt  = 2
	attributeInts = 7
)

// message is a protobuf message that grows.
type message []byte

func (m *message) number(field protowire.Number, v int) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), uint64(int64(v)))
}

func (m *message) real(field protowire.Number, v float32) {
	*m = protowire.AppendFixed32(protowire.AppendTag(*m, field, protowire.Fixed32Type), math.Float32bits(v))
}

func (m *message) bytes(field protowire.Number, v []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), v)
}

func (m *message) text(field protowire.Number, v string) { m.bytes(field, []byte(v)) }

// attribute is an AttributeProto.
type attribute message

func attributeOf(name string, kind int, value func(*message)) attribute {
	var m message
	m.text(1, name)
	value(&m)
	m.number(20, kind)
	return attribute(m)
}

func integer(name string, v int) attribute {
	return attributeOf(name, attributeInt, func(m *message) { m.number(3, v) })
}

func real(name string, v float32) attribute {
	return attributeOf(name, attributeReal, func(m *message) { m.real(2, v) })
}

func integers(name string, values ...int) attribute {
	return attributeOf(name, attributeInts, func(m *message) {
		for _, v := range values {
			m.number(8, v)
		}
	})
}

// graph is a GraphProto that grows. Tensors and scalars of a name that is there already are not added again.
type graph struct {
	nodes, tensors, inputs, outputs message
	known                           map[string]bool
}

func (g *graph) node(operator, name string, in []string, out string, attributes ...attribute) {
	var m message
	for _, i := range in {
		m.text(1, i)
	}
	m.text(2, out)
	m.text(3, name)
	m.text(4, operator)
	for _, a := range attributes {
		m.bytes(5, a)
	}
	g.nodes.bytes(1, m)
}

func (g *graph) tensor(name string, shape []int, values []float32) {
	if g.known[name] {
		return
	}
	if g.known == nil {
		g.known = map[string]bool{}
	}
	g.known[name] = true
	var m message
	for _, d := range shape {
		m.number(1, d)
	}
	m.number(2, elementFloat)
	m.text(8, name)
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	m.bytes(9, raw)
	g.tensors.bytes(5, m)
}

func (g *graph) scalar(name string, v float32) { g.tensor(name, nil, []float32{v}) }

func (g *graph) input(name string, shape ...int)  { g.inputs.bytes(11, valueInfo(name, shape)) }
func (g *graph) output(name string, shape ...int) { g.outputs.bytes(12, valueInfo(name, shape)) }

// valueInfo is a ValueInfoProto of a float tensor. A dimension of -1 is the batch, which has any size.
func valueInfo(name string, shape []int) message {
	var dims, tensor, kind, info message
	for _, d := range shape {
		var dim message
		if d < 0 {
			dim.text(2, "N")
		} else {
			dim.number(1, d)
		}
		dims.bytes(1, dim)
	}
	tensor.number(1, elementFloat)
	tensor.bytes(2, dims)
	kind.bytes(1, tensor)
	info.text(1, name)
	info.bytes(2, kind)
	return info
}

// model is the ModelProto around the graph, the same bytes for the same graph and metadata.
func (g *graph) model(version string, metadata map[string]string) []byte {
	var body message
	body = append(body, g.nodes...)
	body.text(2, "student")
	body = append(append(append(body, g.tensors...), g.inputs...), g.outputs...)
	var opset, m message
	opset.text(1, "")
	opset.number(2, Opset)
	m.number(1, irVersion)
	m.text(2, "pupil")
	m.text(3, version)
	m.bytes(7, body)
	m.bytes(8, opset)
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		var entry message
		entry.text(1, key)
		entry.text(2, metadata[key])
		m.bytes(14, entry)
	}
	return m
}
