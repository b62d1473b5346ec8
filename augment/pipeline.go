package augment

import (
	"fmt"
	"slices"
	"sync"

	"pupil/internal/random"
)

// Values of Key.View: a job's two augmentations of one image.
const (
	TeacherView uint64 = iota
	StudentView
)

// Key is what a view's randomness is a function of.
type Key struct {
	Seed   uint64 // the job's
	Epoch  uint64
	Sample uint64 // number in the dataset
	View   uint64
}

// Operations are the last word of a stream's key. The numbers are part of every job's result: a new operation takes a
// new number.
const (
	opCrop uint64 = iota + 1
	opFlip
	opRotate
	opBrightness
	opOcclude
)

// stream returns the randomness of one operation of one view.
func (k Key) stream(operation uint64) *random.Stream {
	return random.New(random.PurposeAugment, k.Seed, k.Epoch, k.Sample, k.View, operation)
}

// Pipeline makes views. It is immutable and safe for concurrent use.
type Pipeline struct {
	config  Config
	finish  finish    // without a factor
	scratch sync.Pool // of *scratch
}

// scratch is the working memory of one view; it grows to what the largest image needed.
type scratch struct {
	columns, rows taps
	narrow        []float32 // [cropped height, size, channels]: the image after the horizontal change of size
	turned        []float32 // [size, size, channels]: the source of a rotation
}

// New returns the pipeline of a configuration, or an error that lists every fault in it.
func New(c Config) (*Pipeline, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("augmentation: %w", err)
	}
	c.Crop = c.Crop.withDefaults()
	c.Mean, c.Std = slices.Clone(c.Mean), slices.Clone(c.Std)
	p := &Pipeline{config: c, finish: newFinish(c)}
	p.scratch.New = func() any { return new(scratch) }
	return p, nil
}

// Config returns the configuration; the zero values of Crop are filled in.
func (p *Pipeline) Config() Config {
	c := p.config
	c.Mean, c.Std = slices.Clone(c.Mean), slices.Clone(c.Std)
	return c
}

// Len is the length of a view: Size * Size * Channels.
func (p *Pipeline) Len() int { return p.config.Size * p.config.Size * p.config.Channels }

// Apply writes the view of img that belongs to the key to dst, in the layout [Size, Size, Channels].
//
// An image of another number of channels is converted first, as Image.Convert does it; to decode with the pipeline's
// channels is faster. Apply panics when dst has not Len() values or img is not a whole image: those are bugs.
func (p *Pipeline) Apply(dst []float32, img *Image, key Key) {
	img.check()
	p.render(dst, img, p.config.draw(img, key))
}

// draws are the random choices of one view.
type draws struct {
	crop     rectangle // of the image
	flip     bool
	degrees  float64 // counterclockwise; 0: no rotation
	factor   float32 // of the brightness; 1: no change
	occluded bool
	hidden   rectangle  // of the view
	value    [3]float32 // what the rectangle is filled with, a value for each channel
}

// draw makes the choices for an image. Operations that are off draw nothing.
func (c *Config) draw(img *Image, key Key) draws {
	return c.drawIn(c.Crop.draw(img.Width, img.Height, key), key)
}

// drawIn makes all choices but the crop.
func (c *Config) drawIn(crop rectangle, key Key) draws {
	d := draws{crop: crop, factor: 1}
	if c.Flip > 0 {
		d.flip = drawFlip(c.Flip, key)
	}
	if c.Rotate > 0 {
		d.degrees = drawAngle(c.Rotate, key)
	}
	if c.Brightness > 0 {
		d.factor = drawFactor(c.Brightness, key)
	}
	if c.Occlude.Probability > 0 {
		d.hidden, d.occluded = c.Occlude.draw(c.Size, key)
		v := float32(c.Occlude.Value)
		d.value = [3]float32{v, v, v}
	}
	return d
}

// render writes the view of img that d describes to dst.
func (p *Pipeline) render(dst []float32, img *Image, d draws) {
	p.checkLength(dst)
	c := &p.config
	img = img.Convert(c.Channels)
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)

	last := p.finish
	last.factor = d.factor
	if d.degrees == 0 {
		p.shrink(dst, img, d, last, s)
	} else {
		s.turned = grow(s.turned, len(dst))
		p.shrink(s.turned, img, d, finish{factor: 1}, s)
		rotate(dst, s.turned, c.Size, c.Channels, d.degrees, last)
	}
	if d.occluded {
		occlude(dst, c.Size, c.Channels, d.hidden, d.value)
	}
}

// shrink writes the part of img that the view shows.
func (p *Pipeline) shrink(dst []float32, img *Image, d draws, last finish, s *scratch) {
	if c := &p.config; c.Resize > 0 {
		resizeAndCut(dst, c.Size, img, c.Resize, last, s)
	} else {
		resize(dst, c.Size, img, d.crop, d.flip, last, s)
	}
}

func (p *Pipeline) checkLength(dst []float32) {
	if len(dst) != p.Len() {
		panic(fmt.Sprintf("augment: a view has %d values, dst %d", p.Len(), len(dst)))
	}
}

// rectangle is a part of an image or of a view, in pixels.
type rectangle struct{ x, y, width, height int }
