package nn

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Config names a network.
type Config struct {
	Architecture string  `json:"architecture"` // one of Architectures
	Width        float64 `json:"width"`        // width multiplier; 1 is torchvision's network
	Outputs      int     `json:"outputs"`      // width of the logits; 0: no classifier
	Size         int     `json:"size"`         // height and width of the images, in pixels
	Channels     int     `json:"channels"`     // of the images: 1 or 3

	// Projection is the width of a linear layer on the pooled features, beside the classifier; 0: none. torchvision has
	// none.
	Projection int `json:"projection,omitempty"`
}

// Bounds of a Config, so that a broken file cannot ask for all memory.
const (
	MaxSize    = 2048
	MaxOutputs = 1 << 20 // also of the projection
)

// cifar marks the variants for small images.
const cifar = "_cifar"

// Architectures lists the names that New knows, sorted.
func Architectures() []string {
	names := []string{"mobilenet_v2", "mobilenet_v2" + cifar, "mobilenet_v3_large", "mobilenet_v3_small"}
	for name := range maps.Keys(resnets) {
		names = append(names, name, name+cifar)
	}
	slices.Sort(names)
	return names
}

// New makes a network. Its errors say which field is wrong and what it may be.
func New(c Config) (*Network, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	base, small := strings.CutSuffix(c.Architecture, cifar)
	var n *Network
	var err error
	switch base {
	case "mobilenet_v2":
		n, err = NewMobileNetV2(MobileNetV2{Width: c.Width, Cifar: small}, c)
	case "mobilenet_v3_small":
		n, err = NewMobileNetV3(MobileNetV3{Width: c.Width}, c)
	case "mobilenet_v3_large":
		n, err = NewMobileNetV3(MobileNetV3{Width: c.Width, Large: true}, c)
	default:
		d := resnets[base]
		if d.Planes, err = planes(c.Width); err != nil {
			return nil, fmt.Errorf("nn: %s: %w", c.Architecture, err)
		}
		d.Cifar = small
		n, err = NewResNet(d, c)
	}
	if err != nil {
		return nil, err
	}
	n.config = c
	return n, nil
}

// Validate lists every fault of the fields, each with its value and its bounds.
func (c Config) Validate() error {
	var faults []error
	if !slices.Contains(Architectures(), c.Architecture) {
		faults = append(faults, fmt.Errorf("architecture %q is not known; there are %s",
			c.Architecture, strings.Join(Architectures(), ", ")))
	}
	if err := validateWidth(c.Width); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(append(faults, c.inputFaults()...)...)
}

func (c Config) inputFaults() (faults []error) {
	if c.Size < 1 || c.Size > MaxSize {
		faults = append(faults, fmt.Errorf("size is %d; it must be in 1..%d", c.Size, MaxSize))
	}
	if c.Channels != 1 && c.Channels != 3 {
		faults = append(faults, fmt.Errorf("channels is %d; it must be 1 or 3", c.Channels))
	}
	if c.Outputs < 0 || c.Outputs > MaxOutputs {
		faults = append(faults, fmt.Errorf("outputs is %d; it must be in 0..%d", c.Outputs, MaxOutputs))
	}
	if c.Projection < 0 || c.Projection > MaxOutputs {
		faults = append(faults, fmt.Errorf("projection is %d; it must be in 0..%d", c.Projection, MaxOutputs))
	}
	return faults
}

// validateInput checks what a design of its own takes from a Config.
func (c Config) validateInput() error {
	if err := errors.Join(c.inputFaults()...); err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	return nil
}
