package augment

import (
	"errors"
	"fmt"
	"math"
)

// Config is a pipeline. The zero value of an operation's fields switches the operation off.
type Config struct {
	Size     int // height and width of a view in pixels; 1..4096
	Channels int // 1 grey or 3 RGB

	// Resize is what the shorter side of the image is changed to, before the centred square of Size is cut from it
	// (torchvision's Resize and CenterCrop); 0: off. It stands in the place of Crop, and needs Flip 0.
	Resize int

	Crop       Crop
	Flip       float64 // probability of a horizontal flip; 0..1
	Rotate     float64 // degrees, 0..180: the angle is uniform in [-Rotate, Rotate]
	Brightness float64 // b of 0 or more: the factor is uniform in [max(0, 1-b), 1+b]
	Occlude    Occlude

	// (x - Mean) / Std for x in [0, 1], a value for each channel; both nil leave x as it is.
	Mean, Std []float64
}

// Crop is a random part of the image that is resized to the view (torchvision's RandomResizedCrop).
type Crop struct {
	Scale [2]float64 // share of the image's area, 0 < low <= high <= 1; the zero value stands for [1, 1]
	Ratio [2]float64 // width / height, 0 < low <= high; the zero value stands for [1, 1]
}

// Occlude replaces a random rectangle of the normalised view (torchvision's RandomErasing).
type Occlude struct {
	Probability float64    // 0..1
	Scale       [2]float64 // share of the view's area, 0 < low <= high <= 1
	Ratio       [2]float64 // height / width, 0 < low <= high
	Value       float64    // what the rectangle is filled with, after normalisation
}

// maxSize bounds a view, so that a slip of the pen is not an allocation of gigabytes.
const maxSize = 4096

// Validate returns one error that lists every fault, or nil.
func (c Config) Validate() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Size >= 1 && c.Size <= maxSize, "size is %d; it must be 1..%d pixels", c.Size, maxSize)
	fault(c.Channels == 1 || c.Channels == 3, "channels is %d; it must be 1 or 3", c.Channels)
	fault(c.Resize == 0 || c.Resize >= c.Size && c.Resize <= maxSize,
		"resize is %d; it must be 0, or at least the size %d and at most %d pixels", c.Resize, c.Size, maxSize)
	crop := c.Crop.withDefaults()
	fault(c.Resize == 0 || crop.whole() && c.Flip == 0, "resize is %d, and there is a random crop or flip; leave one out",
		c.Resize)
	fault(isRange(crop.Scale, 1), "crop.scale is %v; it must be [low, high] with 0 < low <= high <= 1", crop.Scale)
	fault(isRange(crop.Ratio, maxRatio), "crop.ratio is %v; it must be [low, high] with 0 < low <= high <= %g",
		crop.Ratio, maxRatio)
	fault(isProbability(c.Flip), "flip is %g; it must be a probability, 0..1", c.Flip)
	fault(c.Rotate >= 0 && c.Rotate <= 180, "rotate is %g; it must be 0..180 degrees", c.Rotate)
	fault(c.Brightness >= 0 && c.Brightness <= math.MaxFloat32, "brightness is %g; it must be finite and 0 or more",
		c.Brightness)
	faults = append(faults, c.Occlude.faults()...)
	faults = append(faults, c.normalizeFaults()...)
	return errors.Join(faults...)
}

// maxRatio bounds a ratio of sides far beyond what is useful, where its square root and exponential are harmless.
const maxRatio = 1e6

func (o Occlude) faults() (faults []error) {
	if !isProbability(o.Probability) {
		faults = append(faults, fmt.Errorf("occlude.probability is %g; it must be a probability, 0..1", o.Probability))
	}
	if o.Probability == 0 {
		return faults
	}
	if !isRange(o.Scale, 1) {
		faults = append(faults, fmt.Errorf("occlude.scale is %v; it must be [low, high] with 0 < low <= high <= 1",
			o.Scale))
	}
	if !isRange(o.Ratio, maxRatio) {
		faults = append(faults, fmt.Errorf("occlude.ratio is %v; it must be [low, high] with 0 < low <= high <= %g",
			o.Ratio, maxRatio))
	}
	if !isFloat32(o.Value) {
		faults = append(faults, fmt.Errorf("occlude.value is %g; it must be a finite float32", o.Value))
	}
	return faults
}

func (c Config) normalizeFaults() (faults []error) {
	if c.Mean == nil && c.Std == nil {
		return nil
	}
	for _, v := range []struct {
		name   string
		values []float64
	}{{"mean", c.Mean}, {"std", c.Std}} {
		if len(v.values) != c.Channels {
			faults = append(faults, fmt.Errorf("normalize.%s has %d values; there are %d channels",
				v.name, len(v.values), c.Channels))
		}
	}
	for i, m := range c.Mean {
		if !isFloat32(m) {
			faults = append(faults, fmt.Errorf("normalize.mean of channel %d is %g; it must be a finite float32", i, m))
		}
	}
	for i, s := range c.Std {
		if !(s >= minStd && s <= math.MaxFloat32) {
			faults = append(faults, fmt.Errorf("normalize.std of channel %d is %g; it must be %g or more and finite; "+
				"a channel that never changes has no deviation: give it 1", i, s, minStd))
		}
	}
	return faults
}

// minStd keeps a normalised view finite; no channel of real images comes near it.
const minStd = 1e-6

func (c Crop) withDefaults() Crop {
	one := [2]float64{1, 1}
	if c.Scale == [2]float64{} {
		c.Scale = one
	}
	if c.Ratio == [2]float64{} {
		c.Ratio = one
	}
	return c
}

// The comparisons are written so that NaN is refused.
func isRange(r [2]float64, bound float64) bool { return r[0] > 0 && r[0] <= r[1] && r[1] <= bound }
func isProbability(p float64) bool             { return p >= 0 && p <= 1 }
func isFloat32(v float64) bool                 { return math.Abs(v) <= math.MaxFloat32 }
