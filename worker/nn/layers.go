package nn

import "pupil/internal/kernel"

// kind says what a layer does.
type kind uint8

const (
	convNorm    kind = iota // activation(batch norm(convolution(x))), without bias
	linear                  // activation(x W + b) on pooled values
	join                    // activation(x + y): the end of a residual block
	gate                    // x[n,h,w,c] * s[n,c]: squeeze-and-excite
	averagePool             // mean over all pixels
	maxPool                 //
)

// layer is one step of a network in execution order. Values are numbered; value 0 is the images.
type layer struct {
	kind       kind
	name       string // of torchvision's module, or of the block
	in         []int
	out        int
	geometry   kernel.Conv // convNorm, maxPool; N is the batch, set where a graph is built
	depthwise  bool
	activation kernel.Activation

	weight int // its parameter; convNorm: gamma and beta follow; linear: the bias follows
	mean   int // convNorm: its running mean; the running variance follows
	eps    float32
}

// absorbs tells whether the layer can apply the norm of its input as it reads it.
func (l *layer) absorbs() bool { return l.kind == convNorm && (l.depthwise || l.geometry.Pointwise()) }

// value is the shape of one image's activation: height, width, channels.
type value struct{ h, w, c int }

func (v value) size() int { return v.h * v.w * v.c }

// initialisation says how a parameter starts, after torchvision.
type initialisation uint8

const (
	initOnes       initialisation = iota
	initZeros                     //
	initKaiming                   // N(0, 2 / (K R S)): kaiming_normal_, fan out, gain sqrt 2
	initNormal                    // N(0, 0.01^2)
	initUniformFan                // U(-1/sqrt(C), 1/sqrt(C)): the default of torch.nn.Linear
)

// param is what the network knows of a parameter beside its public description.
type param struct {
	Tensor
	init initialisation
	fan  int
}

// buffer is what the network knows of a running statistic beside its public description.
type buffer struct {
	Tensor
	momentum float64
	variance bool
	after    int // the parameter that it follows in a state_dict
}

// builder makes a network layer by layer. Parameters are numbered in the order in which layers are added, which is the
// order of torchvision's state_dict.
type builder struct {
	n        *Network
	eps      float32 // of batch norms
	momentum float64
	block    string // the name of layers without one
}

func newBuilder(c Config, eps float32, momentum float64) *builder {
	own := Config{Outputs: c.Outputs, Size: c.Size, Channels: c.Channels, Projection: c.Projection}
	n := &Network{config: own, logits: -1, projection: -1}
	n.values = []value{{c.Size, c.Size, c.Channels}}
	return &builder{n: n, eps: eps, momentum: momentum}
}

func (b *builder) value(h, w, c int) int {
	b.n.values = append(b.n.values, value{h, w, c})
	return len(b.n.values) - 1
}

// add ends a layer that has no name of its own with that of its block.
func (b *builder) add(l layer) int {
	if l.name == "" {
		l.name = b.block
	}
	b.n.layers = append(b.n.layers, l)
	return l.out
}

func (b *builder) param(name string, kind Kind, init initialisation, fan int, shape ...int) int {
	t := Tensor{Name: name, Shape: shape, Offset: b.n.paramsLen, Len: product(shape), Kind: kind}
	b.n.paramsLen += t.Len
	b.n.params = append(b.n.params, param{Tensor: t, init: init, fan: fan})
	return len(b.n.params) - 1
}

func (b *builder) buffer(name string, variance bool, c int) int {
	t := Tensor{Name: name, Shape: []int{c}, Offset: b.n.buffersLen, Len: c, Kind: Norm}
	b.n.buffersLen += c
	b.n.buffers = append(b.n.buffers, buffer{
		Tensor: t, momentum: b.momentum, variance: variance, after: len(b.n.params) - 1,
	})
	return len(b.n.buffers) - 1
}

// filter is the shape of a convolution; its padding is size/2, which keeps the map's size at stride 1.
type filter struct {
	outputs, size, stride int
	depthwise             bool
}

// conv adds a convolution (parameter name.weight) and its batch norm (parameters norm.weight, norm.bias).
func (b *builder) conv(name, norm string, in int, f filter, act kernel.Activation) int {
	v := b.n.values[in]
	g := kernel.Conv{
		N: 1, H: v.h, W: v.w, C: v.c, K: f.outputs, R: f.size, S: f.size, Stride: f.stride, Pad: f.size / 2,
	}
	channels := v.c
	if f.depthwise {
		channels = 1
	}
	oh, ow := g.Out()
	l := layer{kind: convNorm, name: name, in: []int{in}, geometry: g, depthwise: f.depthwise, activation: act, eps: b.eps}
	fan := f.outputs * f.size * f.size
	l.weight = b.param(name+".weight", Weight, initKaiming, fan, f.outputs, channels, f.size, f.size)
	b.param(norm+".weight", Norm, initOnes, 0, f.outputs)
	b.param(norm+".bias", Norm, initZeros, 0, f.outputs)
	l.mean = b.buffer(norm+".running_mean", false, f.outputs)
	b.buffer(norm+".running_var", true, f.outputs)
	l.out = b.value(oh, ow, f.outputs)
	return b.add(l)
}

// linear adds a fully connected layer on a pooled value. shape is that of the weight outside.
func (b *builder) linear(name string, in int, weight, bias initialisation, act kernel.Activation, shape ...int) int {
	c, k := shape[1], shape[0]
	l := layer{kind: linear, name: name, in: []int{in}, activation: act}
	fan := c
	if weight == initKaiming {
		fan = k
	}
	l.weight = b.param(name+".weight", Weight, weight, fan, shape...)
	b.param(name+".bias", Bias, bias, c, k)
	l.out = b.value(1, 1, k)
	return b.add(l)
}

func (b *builder) join(x, y int, act kernel.Activation) int {
	v := b.n.values[x]
	return b.add(layer{kind: join, in: []int{x, y}, out: b.value(v.h, v.w, v.c), activation: act})
}

func (b *builder) gate(x, s int) int {
	v := b.n.values[x]
	return b.add(layer{kind: gate, in: []int{x, s}, out: b.value(v.h, v.w, v.c)})
}

func (b *builder) averagePool(x int) int {
	return b.add(layer{kind: averagePool, in: []int{x}, out: b.value(1, 1, b.n.values[x].c)})
}

func (b *builder) maxPool(x int, f filter) int {
	v := b.n.values[x]
	g := kernel.Conv{N: 1, H: v.h, W: v.w, C: v.c, K: v.c, R: f.size, S: f.size, Stride: f.stride, Pad: f.size / 2}
	oh, ow := g.Out()
	return b.add(layer{kind: maxPool, name: "maxpool", in: []int{x}, geometry: g, out: b.value(oh, ow, v.c)})
}

// pooled marks the value that Features describes.
func (b *builder) pooled(x int) int {
	b.block = "avgpool"
	b.n.featureMap, b.n.pooled = x, b.averagePool(x)
	return b.n.pooled
}

// projection ends a network with a linear layer on the pooled features, if width is above 0. It is the last layer, so
// that its parameters are the last: without it all others are as they are with it.
func (b *builder) projection(width int) {
	if width > 0 {
		in := b.n.pooled
		b.n.projection = b.linear("projection", in, initUniformFan, initUniformFan, kernel.Identity, width, b.n.Features())
	}
}

func product(shape []int) int {
	p := 1
	for _, d := range shape {
		p *= d
	}
	return p
}
