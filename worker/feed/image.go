package feed

import (
	"context"
	"errors"
	"fmt"

	"pupil/augment"
	"pupil/storage/dataset"
)

// ErrBroken is the reason for an error about an image that cannot be decoded. The error names the image and its shard.
var ErrBroken = errors.New("broken image")

// load reads one sample and decodes it over a background.
func load(ctx context.Context, d *dataset.Dataset, number, channels int, background [3]uint8) (dataset.Sample, *augment.Image, error) {
	s, data, err := d.Sample(ctx, number)
	if err != nil {
		return s, nil, err
	}
	img, err := augment.DecodeOver(data, channels, background)
	if err != nil {
		return s, nil, fmt.Errorf("%w: %s: %w; pack the dataset again without it, or let broken images be skipped",
			ErrBroken, d.Describe(s), err)
	}
	return s, img, nil
}

// task is the making of image i of a batch.
type task struct {
	batch    *Batch
	i        int
	epoch    int
	order    []int // the lane's samples of the epoch
	position int   // of the image in order
}

// do makes the image and both views. With SkipBroken an image that cannot be decoded is replaced by the next one of the
// lane's epoch that can, cyclically. The views of the replacement are drawn with the number of the sample whose place
// it takes, so that they differ from its own views in the same epoch.
func (f *Feed) do(ctx context.Context, t task) result {
	if f.config.places != nil {
		f.config.places <- struct{}{}
		defer func() { <-f.config.places }()
	}
	b := t.batch
	var first error
	for k := range t.order {
		number := t.order[(t.position+k)%len(t.order)]
		s, img, err := load(ctx, f.config.Data, number, f.config.Channels, f.config.Views.Background())
		if err != nil {
			if !f.config.SkipBroken || !errors.Is(err, ErrBroken) {
				return result{err: err}
			}
			if first == nil {
				first = err
			}
			if ctx.Err() != nil {
				return result{err: context.Cause(ctx)}
			}
			continue
		}
		b.Samples[t.i], b.Labels[t.i] = s, s.Label
		f.views(t, img)
		return result{replaced: k > 0}
	}
	return result{err: fmt.Errorf("no image of lane %d can be decoded in epoch %d; the first of them: %w",
		b.Lane, t.epoch, first)}
}

func (f *Feed) views(t task, img *augment.Image) {
	v, b := f.config.Views, t.batch
	n := v.Student().Len()
	student := b.Student[t.i*n:][:n]
	key := augment.Key{Seed: f.config.Seed, Epoch: uint64(t.epoch), Sample: uint64(t.order[t.position])}
	if b.Known != nil {
		v.ApplyStudent(student, img, key)
		return
	}
	var teacher []float32
	if p := v.Teacher(); p != nil {
		n := p.Len()
		teacher = b.Teacher[t.i*n:][:n]
	}
	v.Apply(teacher, student, img, key)
}
