package nn

import (
	"fmt"
	"math"
	"strings"

	"pupil/internal/kernel"
)

// MobileNetV2 is the design of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), in
// torchvision's form.
type MobileNetV2 struct {
	Width float64 // multiplies every number of channels, which is then rounded to a multiple of 8
	Cifar bool    // stride 1 in the stem and in the first stage of stride 2, for images of about 32 x 32
}

// mobileNetV2Stages: expansion, channels, blocks, stride of the first block.
var mobileNetV2Stages = [...]struct{ expansion, channels, blocks, stride int }{
	{1, 16, 1, 1},
	{6, 24, 2, 2},
	{6, 32, 3, 2},
	{6, 64, 4, 2},
	{6, 96, 3, 1},
	{6, 160, 3, 2},
	{6, 320, 1, 1},
}

// NewMobileNetV2 makes a network with a design of its own. Of the config it takes Outputs, Projection,
// Size and Channels; such a network has no name, so that it is not saved with a config.json.
func NewMobileNetV2(d MobileNetV2, c Config) (*Network, error) {
	if err := c.validateInput(); err != nil {
		return nil, err
	}
	if err := validateWidth(d.Width); err != nil {
		return nil, fmt.Errorf("nn: mobilenet_v2: %w", err)
	}
	b := newBuilder(c, 1e-5, 0.1)
	stride := 2
	if d.Cifar {
		stride = 1
	}
	f := filter{outputs: divisible(32 * d.Width), size: 3, stride: stride}
	x := b.conv("features.0.0", "features.0.1", 0, f, kernel.ReLU6)
	number := 1
	for stage, s := range mobileNetV2Stages {
		for i := range s.blocks {
			stride := 1
			if i == 0 && !(d.Cifar && stage == 1) {
				stride = s.stride
			}
			name := fmt.Sprintf("features.%d.conv", number)
			x = invertedResidual(b, name, x, divisible(float64(s.channels)*d.Width), s.expansion, stride)
			number++
		}
	}
	name := fmt.Sprintf("features.%d", number)
	f = filter{outputs: divisible(1280 * math.Max(1, d.Width)), size: 1, stride: 1}
	x = b.pooled(b.conv(name+".0", name+".1", x, f, kernel.ReLU6))
	if c.Outputs > 0 {
		b.n.logits = b.linear("classifier.1", x, initNormal, initZeros, kernel.Identity, c.Outputs, f.outputs)
	}
	b.projection(c.Projection)
	return b.n, nil
}

// invertedResidual adds expansion (1x1), depthwise (3x3) and projection (1x1) with a shortcut where shapes allow.
func invertedResidual(b *builder, name string, in, outputs, expansion, stride int) int {
	b.block = strings.TrimSuffix(name, ".conv")
	channels := b.n.values[in].c
	hidden := channels * expansion
	x, number := in, 0
	if expansion != 1 {
		x = b.conv(name+".0.0", name+".0.1", x, filter{outputs: hidden, size: 1, stride: 1}, kernel.ReLU6)
		number++
	}
	part := fmt.Sprintf("%s.%d", name, number)
	x = b.conv(part+".0", part+".1", x, filter{outputs: hidden, size: 3, stride: stride, depthwise: true}, kernel.ReLU6)
	number++
	conv, norm := fmt.Sprintf("%s.%d", name, number), fmt.Sprintf("%s.%d", name, number+1)
	x = b.conv(conv, norm, x, filter{outputs: outputs, size: 1, stride: 1}, kernel.Identity)
	if stride == 1 && channels == outputs {
		x = b.join(x, in, kernel.Identity)
	}
	return x
}

// divisible is torchvision's _make_divisible: the multiple of 8 nearest to v, at least 8, and not below 0.9 v.
func divisible(v float64) int {
	n := max(8, int(v+4)/8*8)
	if float64(n) < 0.9*v {
		n += 8
	}
	return n
}

func validateWidth(w float64) error {
	if !(w > 0 && w <= 16) {
		return fmt.Errorf("width is %v; it must be above 0 and at most 16", w)
	}
	return nil
}
