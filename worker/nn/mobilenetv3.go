package nn

import (
	"fmt"
	"strings"

	"pupil/internal/kernel"
)

// MobileNetV3 is the design of Howard et al., "Searching for MobileNetV3" (2019), in torchvision's form.
type MobileNetV3 struct {
	Large       bool
	Width       float64 // multiplies every number of channels, which is then rounded to a multiple of 8
	ReducedTail bool    // halves the channels of the last stage
	LastChannel int     // of the classifier's hidden layer; 0: 1024 (small) or 1280, halved by ReducedTail, by Width
}

// mobileNetV3Block is a row of the paper's table 1 or 2. Tail rows are halved by ReducedTail.
type mobileNetV3Block struct {
	kernel, expanded, outputs int
	excite                    bool // squeeze-and-excite
	swish                     bool // hard-swish; else ReLU
	stride                    int
	tail                      int // 1: outputs, 2: also expanded, are of the tail
}

var mobileNetV3Small = []mobileNetV3Block{
	{3, 16, 16, true, false, 2, 0},
	{3, 72, 24, false, false, 2, 0},
	{3, 88, 24, false, false, 1, 0},
	{5, 96, 40, true, true, 2, 0},
	{5, 240, 40, true, true, 1, 0},
	{5, 240, 40, true, true, 1, 0},
	{5, 120, 48, true, true, 1, 0},
	{5, 144, 48, true, true, 1, 0},
	{5, 288, 96, true, true, 2, 1},
	{5, 576, 96, true, true, 1, 2},
	{5, 576, 96, true, true, 1, 2},
}

var mobileNetV3Large = []mobileNetV3Block{
	{3, 16, 16, false, false, 1, 0},
	{3, 64, 24, false, false, 2, 0},
	{3, 72, 24, false, false, 1, 0},
	{5, 72, 40, true, false, 2, 0},
	{5, 120, 40, true, false, 1, 0},
	{5, 120, 40, true, false, 1, 0},
	{3, 240, 80, false, true, 2, 0},
	{3, 200, 80, false, true, 1, 0},
	{3, 184, 80, false, true, 1, 0},
	{3, 184, 80, false, true, 1, 0},
	{3, 480, 112, true, true, 1, 0},
	{3, 672, 112, true, true, 1, 0},
	{5, 672, 160, true, true, 2, 1},
	{5, 960, 160, true, true, 1, 2},
	{5, 960, 160, true, true, 1, 2},
}

// NewMobileNetV3 makes a network with a design of its own. Of the config it takes Outputs, Projection,
// Size and Channels; such a network has no name, so that it is not saved with a config.json.
func NewMobileNetV3(d MobileNetV3, c Config) (*Network, error) {
	if err := c.validateInput(); err != nil {
		return nil, err
	}
	if err := validateWidth(d.Width); err != nil {
		return nil, fmt.Errorf("nn: mobilenet_v3: %w", err)
	}
	if d.LastChannel < 0 || d.LastChannel > 1<<16 {
		return nil, fmt.Errorf("nn: mobilenet_v3: last channel is %d; it must be in 0..65536", d.LastChannel)
	}
	rows := mobileNetV3Small
	if d.Large {
		rows = mobileNetV3Large
	}
	b := newBuilder(c, 1e-3, 0.01)
	f := filter{outputs: divisible(16 * d.Width), size: 3, stride: 2}
	x := b.conv("features.0.0", "features.0.1", 0, f, kernel.HardSwish)
	for i, row := range rows {
		x = d.block(b, fmt.Sprintf("features.%d.block", i+1), x, row)
	}
	name := fmt.Sprintf("features.%d", len(rows)+1)
	f = filter{outputs: 6 * b.n.values[x].c, size: 1, stride: 1}
	x = b.pooled(b.conv(name+".0", name+".1", x, f, kernel.HardSwish))
	if c.Outputs > 0 {
		last := d.last()
		x = b.linear("classifier.0", x, initNormal, initZeros, kernel.HardSwish, last, f.outputs)
		b.n.logits = b.linear("classifier.3", x, initNormal, initZeros, kernel.Identity, c.Outputs, last)
	}
	b.projection(c.Projection)
	return b.n, nil
}

// tail divides the channels of the last stage.
func (d MobileNetV3) tail(channels int) int {
	if d.ReducedTail {
		return channels / 2
	}
	return channels
}

func (d MobileNetV3) last() int {
	switch {
	case d.LastChannel > 0:
		return d.LastChannel
	case d.Large:
		return divisible(float64(d.tail(1280)) * d.Width)
	default:
		return divisible(float64(d.tail(1024)) * d.Width)
	}
}

// block adds expansion (1x1), depthwise, squeeze-and-excite and projection (1x1), with a shortcut where shapes allow.
func (d MobileNetV3) block(b *builder, name string, in int, row mobileNetV3Block) int {
	expanded, outputs := row.expanded, row.outputs
	if row.tail >= 1 {
		outputs = d.tail(outputs)
	}
	if row.tail >= 2 {
		expanded = d.tail(expanded)
	}
	hidden, k := divisible(float64(expanded)*d.Width), divisible(float64(outputs)*d.Width)
	act := kernel.ReLU
	if row.swish {
		act = kernel.HardSwish
	}
	b.block = strings.TrimSuffix(name, ".block")
	channels := b.n.values[in].c
	x, number := in, 0
	part := func() string { number++; return fmt.Sprintf("%s.%d", name, number-1) }
	if hidden != channels {
		p := part()
		x = b.conv(p+".0", p+".1", x, filter{outputs: hidden, size: 1, stride: 1}, act)
	}
	p := part()
	x = b.conv(p+".0", p+".1", x, filter{outputs: hidden, size: row.kernel, stride: row.stride, depthwise: true}, act)
	if row.excite {
		x = squeezeExcite(b, part(), x, divisible(float64(hidden/4)))
	}
	p = part()
	x = b.conv(p+".0", p+".1", x, filter{outputs: k, size: 1, stride: 1}, kernel.Identity)
	if row.stride == 1 && channels == k {
		x = b.join(x, in, kernel.Identity)
	}
	return x
}

// squeezeExcite multiplies each channel by hard-sigmoid(fc2(relu(fc1(mean)))) (Hu et al., 2018). The fully connected
// layers are 1x1 convolutions with bias in torchvision.
func squeezeExcite(b *builder, name string, x, squeezed int) int {
	defer func(outer string) { b.block = outer }(b.block)
	b.block = name
	c := b.n.values[x].c
	s := b.averagePool(x)
	s = b.linear(name+".fc1", s, initKaiming, initZeros, kernel.ReLU, squeezed, c, 1, 1)
	s = b.linear(name+".fc2", s, initKaiming, initZeros, kernel.HardSigmoid, c, squeezed, 1, 1)
	return b.gate(x, s)
}
