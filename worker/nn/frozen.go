package nn

import (
	"fmt"
	"math"
	"slices"

	"pupil/internal/kernel"
)

// Frozen is a network with weights that no longer change, prepared for inference: batch norms are folded into the
// convolutions, and filters are arranged as the kernels read them. It is immutable, and any number of Inferences share it.
type Frozen struct {
	net    *Network
	config FreezeConfig
	layers []frozenLayer // by the value that they make
}

// frozenLayer is what is kept of a layer's parameters.
type frozenLayer struct {
	packed  *kernel.Packed // of a dense convolution or a linear layer
	filters []float32      // of a depthwise convolution
	shift   []float32
}

// FreezeConfig says how a network is prepared.
type FreezeConfig struct {
	// Direct computes all convolutions directly. Else those of 3 x 3 and stride 1 or 2 use Winograd's algorithm where that is
	// faster (kernel.Conv.WinogradPays), which changes features by about 1e-6 of their size.
	Direct bool
}

// winogradBatch is the batch for which the algorithm of a convolution is chosen, whatever the batch is: so what an image
// gives does not depend on the images beside it.
const winogradBatch = 8

// Freeze copies the weights and running statistics that s has now.
func (n *Network) Freeze(s *State, c FreezeConfig) (*Frozen, error) {
	if len(s.Params) != n.paramsLen || len(s.Buffers) != n.buffersLen {
		return nil, fmt.Errorf("nn: freeze: the state has %d parameters and %d buffers; the network has %d and %d",
			len(s.Params), len(s.Buffers), n.paramsLen, n.buffersLen)
	}
	f := &Frozen{net: n, config: c, layers: make([]frozenLayer, len(n.values))}
	for i := range n.layers {
		l := &n.layers[i]
		switch l.kind {
		case convNorm:
			f.layers[l.out] = n.fold(l, s, c)
		case linear:
			w, bias := n.constant(s, l.weight), n.constant(s, l.weight+1)
			k := len(bias)
			f.layers[l.out] = frozenLayer{packed: kernel.Pack(len(w)/k, k, w, k), shift: slices.Clone(bias)}
		}
	}
	return f, nil
}

// FrozenBytes is the memory that Freeze takes.
func (n *Network) FrozenBytes(c FreezeConfig) int64 {
	values := 0
	for i := range n.layers {
		values += n.frozenLen(&n.layers[i], c)
	}
	return 4 * int64(values)
}

// frozenLen is how many values are kept of a layer's parameters.
func (n *Network) frozenLen(l *layer, c FreezeConfig) int {
	g := l.geometry
	switch {
	case l.kind == convNorm && l.depthwise:
		return n.params[l.weight].Len + g.K
	case l.kind == convNorm && c.winograd(l):
		return kernel.WinogradLen(g) + g.K
	case l.kind == convNorm:
		return kernel.PackedLen(g.R*g.S*g.C, g.K) + g.K
	case l.kind == linear:
		k := n.params[l.weight+1].Len
		return kernel.PackedLen(n.params[l.weight].Len/k, k) + k
	}
	return 0
}

// Network is what was frozen.
func (f *Frozen) Network() *Network { return f.net }

func (c FreezeConfig) winograd(l *layer) bool {
	g := l.geometry
	g.N = winogradBatch
	return !c.Direct && !l.depthwise && g.WinogradPays()
}

// fold makes convolution(x, W') + shift of a convolution with its batch norm: W' = W scale, scale = gamma / sqrt(variance
// + eps) and shift = beta - mean scale, all by output channel; computed in float64.
func (n *Network) fold(l *layer, s *State, c FreezeConfig) frozenLayer {
	weights := n.constant(s, l.weight)
	gamma, beta := n.constant(s, l.weight+1), n.constant(s, l.weight+2)
	mean, variance := n.running(s, l.mean), n.running(s, l.mean+1)
	k := len(gamma)
	w, shift, scale := make([]float32, len(weights)), make([]float32, k), make([]float64, k)
	for i := range scale {
		scale[i] = float64(gamma[i]) / math.Sqrt(float64(variance[i])+float64(l.eps))
		shift[i] = float32(float64(beta[i]) - float64(float64(mean[i])*scale[i]))
	}
	for i, v := range weights { // [R, S, C, K] and depthwise [R, S, K]: the output channel is last
		w[i] = float32(float64(v) * scale[i%k])
	}
	switch {
	case l.depthwise:
		return frozenLayer{filters: w, shift: shift}
	case c.winograd(l):
		return frozenLayer{packed: kernel.PackWinograd(l.geometry, w), shift: shift}
	default:
		return frozenLayer{packed: kernel.PackConv(l.geometry, w), shift: shift}
	}
}

func (n *Network) constant(s *State, param int) []float32 {
	p := n.params[param].Tensor
	return s.Params[p.Offset:][:p.Len]
}

func (n *Network) running(s *State, buffer int) []float32 {
	b := n.buffers[buffer].Tensor
	return s.Buffers[b.Offset:][:b.Len]
}
