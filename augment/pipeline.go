package augment

import (
	"fmt"
	"slices"
	"sync"

	"pupil/internal/random"
)

// Views are the values of Key.View: a job's two augmentations of one image.
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
	config    Config
	normalize normalize
	scratch   sync.Pool // of *scratch
}

// scratch is the working memory of one Apply; it grows to what the largest image needed.
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
	p := &Pipeline{config: c, normalize: newNormalize(c)}
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
	c := &p.config
	if len(dst) != p.Len() {
		panic(fmt.Sprintf("augment: a view has %d values, dst %d", p.Len(), len(dst)))
	}
	img.check()
	img = img.Convert(c.Channels)
	s := p.scratch.Get().(*scratch)
	defer p.scratch.Put(s)

	resize(dst, c.Size, img, c.Crop.draw(img.Width, img.Height, key), s)
	if c.Flip > 0 && drawFlip(c.Flip, key) {
		flip(dst, c.Size, c.Channels)
	}
	if c.Rotate > 0 {
		rotate(dst, c.Size, c.Channels, drawAngle(c.Rotate, key), s)
	}
	if c.Brightness > 0 {
		brighten(dst, drawFactor(c.Brightness, key))
	}
	p.normalize.apply(dst)
	if c.Occlude.Probability > 0 {
		if r, ok := c.Occlude.draw(c.Size, key); ok {
			occlude(dst, c.Size, c.Channels, r, float32(c.Occlude.Value))
		}
	}
}

// rectangle is a part of an image or of a view, in pixels.
type rectangle struct{ x, y, width, height int }
