package nn

import (
	"fmt"
	"math"

	"pupil/internal/kernel"
)

// ResNet is the design of a residual network: He et al., "Deep Residual Learning for Image Recognition" (2015), in
// torchvision's form (v1.5: the stride of a bottleneck is in its 3x3 convolution).
type ResNet struct {
	Bottleneck bool   // blocks of 1x1, 3x3, 1x1 convolutions with 4 times the planes at their end; else two 3x3
	Blocks     [4]int // in each of the four stages
	Planes     int    // of the first stage and the stem, 64 in torchvision; doubled by each later stage
	Cifar      bool   // a 3x3 stem of stride 1 and no max pool, for images of about 32 x 32
}

var resnets = map[string]ResNet{
	"resnet10":  {Blocks: [4]int{1, 1, 1, 1}},
	"resnet18":  {Blocks: [4]int{2, 2, 2, 2}},
	"resnet34":  {Blocks: [4]int{3, 4, 6, 3}},
	"resnet50":  {Bottleneck: true, Blocks: [4]int{3, 4, 6, 3}},
	"resnet101": {Bottleneck: true, Blocks: [4]int{3, 4, 23, 3}},
}

// planes is the number of planes of the first stage at a width multiplier, which must give a whole number.
func planes(width float64) (int, error) {
	n := math.Round(64 * width)
	if n < 1 || math.Abs(n-64*width) > 1e-9 {
		near := max(1, n)
		return 0, fmt.Errorf("width %v makes %v planes of the first stage's 64: they must be a whole number; "+
			"try width %v", width, 64*width, near/64)
	}
	return int(n), nil
}

func (d ResNet) validate() error {
	for i, b := range d.Blocks {
		if b < 1 || b > 64 {
			return fmt.Errorf("stage %d has %d blocks; it needs 1 to 64", i+1, b)
		}
	}
	if d.Planes < 1 || d.Planes > 1024 {
		return fmt.Errorf("planes is %d; it must be in 1..1024", d.Planes)
	}
	return nil
}

// NewResNet makes a network with a design of its own. Of the config it takes Outputs, Projection,
// Size and Channels; such a network has no name, so that it is not saved with a config.json.
func NewResNet(d ResNet, c Config) (*Network, error) {
	if err := c.validateInput(); err != nil {
		return nil, err
	}
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("nn: resnet: %w", err)
	}
	b := newBuilder(c, 1e-5, 0.1)
	x := b.conv("conv1", "bn1", 0, d.stem(), kernel.ReLU)
	if !d.Cifar {
		x = b.maxPool(x, filter{size: 3, stride: 2})
	}
	for stage, blocks := range d.Blocks {
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = d.block(b, fmt.Sprintf("layer%d.%d", stage+1, i), x, d.Planes<<stage, stride)
		}
	}
	x = b.pooled(x)
	if c.Outputs > 0 {
		width := b.n.Features()
		b.n.logits = b.linear("fc", x, initUniformFan, initUniformFan, kernel.Identity, c.Outputs, width)
	}
	b.projection(c.Projection)
	return b.n, nil
}

func (d ResNet) stem() filter {
	if d.Cifar {
		return filter{outputs: d.Planes, size: 3, stride: 1}
	}
	return filter{outputs: d.Planes, size: 7, stride: 2}
}

// block adds BasicBlock or Bottleneck.
func (d ResNet) block(b *builder, name string, x, planes, stride int) int {
	b.block = name
	outputs := planes
	var y int
	if d.Bottleneck {
		outputs = 4 * planes
		y = b.conv(name+".conv1", name+".bn1", x, filter{outputs: planes, size: 1, stride: 1}, kernel.ReLU)
		y = b.conv(name+".conv2", name+".bn2", y, filter{outputs: planes, size: 3, stride: stride}, kernel.ReLU)
		y = b.conv(name+".conv3", name+".bn3", y, filter{outputs: outputs, size: 1, stride: 1}, kernel.Identity)
	} else {
		y = b.conv(name+".conv1", name+".bn1", x, filter{outputs: planes, size: 3, stride: stride}, kernel.ReLU)
		y = b.conv(name+".conv2", name+".bn2", y, filter{outputs: planes, size: 3, stride: 1}, kernel.Identity)
	}
	if stride != 1 || b.n.values[x].c != outputs {
		f := filter{outputs: outputs, size: 1, stride: stride}
		x = b.conv(name+".downsample.0", name+".downsample.1", x, f, kernel.Identity)
	}
	return b.join(y, x, kernel.ReLU)
}
