package dataset

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"

	"pupil/storage"
)

// ImportOptions say what of a source is packed, and how.
type ImportOptions struct {
	ShardSize int // images in a shard; default DefaultShardSize
	PerClass  int // the first so many images of each class, in the order of the source; 0 takes all
	Skip      int // images of each class to pass over first: with PerClass it draws sets that do not overlap

	KeepGoing bool                  // leave out images that cannot be packed; without it the first ends the import
	Workers   int                   // images that are read and decoded at the same time; default the processors
	Progress  func(done, total int) // images; called by one goroutine; may be nil
}

func (o ImportOptions) validate() error {
	if o.PerClass < 0 || o.Skip < 0 {
		return fmt.Errorf("per class %d, skip %d: want 0 or more", o.PerClass, o.Skip)
	}
	return nil
}

// Import packs a source into an empty place and returns the manifest and what was left out. The same source and options give
// the same bytes, whatever the number of workers. An import that was interrupted goes on after the last whole shard when it
// is called again, unless the source or the options have changed; then it begins anew.
//
// Every image is decoded as training will decode it. One that cannot be gives ErrImage, or is left out with KeepGoing.
func Import(ctx context.Context, dst storage.Bucket, s *Source, o ImportOptions) (Manifest, []Refusal, error) {
	m, refused, err := pack(ctx, dst, s, o)
	if err != nil {
		return Manifest{}, refused, fmt.Errorf("import %s: %w", s.Place, err)
	}
	return m, refused, nil
}

func pack(ctx context.Context, dst storage.Bucket, s *Source, o ImportOptions) (Manifest, []Refusal, error) {
	if err := o.validate(); err != nil {
		return Manifest{}, nil, err
	}
	if len(s.Refused) > 0 && !o.KeepGoing {
		return Manifest{}, s.Refused, fmt.Errorf("%w %s: %s", ErrImage, s.Refused[0].Origin, s.Refused[0].Reason)
	}
	images, err := s.chosen(o)
	if err != nil {
		return Manifest{}, nil, err
	}
	w, err := NewWriter(dst, WriterOptions{ShardSize: o.ShardSize, Classes: s.Classes})
	if err != nil {
		return Manifest{}, nil, err
	}
	if err := w.usable(ctx); err != nil {
		return Manifest{}, nil, err
	}
	j := &journal{bucket: dst, source: fingerprint(s.Classes, images, w.size)}
	if err := j.resume(ctx, w, images); err != nil {
		return Manifest{}, nil, err
	}
	if err := fill(ctx, w, j, images, o); err != nil {
		return Manifest{}, j.refused, err
	}
	if err := w.Close(ctx); err != nil {
		return Manifest{}, j.refused, err
	}
	return w.Manifest(), append(append([]Refusal(nil), s.Refused...), j.refused...), j.remove(ctx)
}

// prepared is an image that was read and decoded, or the error of that.
type prepared struct {
	data  []byte
	stats statistics
	err   error
}

// fill packs the images from the journal's place on, in their order. Workers prepare those that come next.
func fill(ctx context.Context, w *Writer, j *journal, images []Image, o ImportOptions) error {
	workers := o.Workers
	if workers < 1 {
		workers = runtime.NumCPU()
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ready := make(chan chan prepared, 2*workers) // in the order of the images
	slots := make(chan struct{}, workers)
	wg.Go(func() {
		defer close(ready)
		for _, m := range images[j.next:] {
			result := make(chan prepared, 1)
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				result <- prepare(ctx, m)
				<-slots
			})
			select {
			case ready <- result:
			case <-ctx.Done():
				return
			}
		}
	})
	for result := range ready {
		if err := j.add(ctx, w, images[j.next], <-result, o.KeepGoing); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(j.next, len(images))
		}
	}
	return ctx.Err()
}

// prepare reads and decodes an image.
func prepare(ctx context.Context, m Image) (p prepared) {
	if p.err = ctx.Err(); p.err != nil {
		return p
	}
	if p.data, p.err = m.read(ctx); p.err != nil {
		return p
	}
	if err := p.stats.addEncoded(p.data); err != nil {
		p.err = fmt.Errorf("%w: %w", ErrImage, err)
	}
	return p
}

// add packs the next image, or refuses it.
func (j *journal) add(ctx context.Context, w *Writer, m Image, p prepared, keepGoing bool) error {
	j.next++
	err := p.err
	if err == nil {
		err = w.add(ctx, m.Name, m.Label, p.data, p.stats, func() error { return j.write(ctx, w) })
	}
	if err == nil || !errors.Is(err, ErrImage) {
		return err
	}
	if !keepGoing {
		return fmt.Errorf("%s: %w", m.Origin, err)
	}
	j.refused = append(j.refused, Refusal{m.Origin, err.Error()})
	return nil
}

// chooser picks the images skip..skip+limit-1 of each class.
type chooser struct {
	skip, limit int   // limit 0: no limit
	seen        []int // by label + 1
}

func newChooser(classes int, o ImportOptions) *chooser {
	return &chooser{o.Skip, o.PerClass, make([]int, classes+1)}
}

func (c *chooser) take(label int) bool {
	n := c.seen[label+1]
	c.seen[label+1]++
	return n >= c.skip && (c.limit == 0 || n < c.skip+c.limit)
}

// check reports a class that had too few images.
func (c *chooser) check(classes []string) error {
	if c.limit == 0 {
		return nil
	}
	var errs []error
	for i, n := range c.seen {
		name := "the source"
		switch {
		case i == 0 && len(classes) > 0:
			continue // images without a label, in a source that has labels
		case i > 0:
			name = "class " + strconv.Quote(classes[i-1])
		}
		if n < c.skip+c.limit {
			errs = append(errs, fmt.Errorf("%s has %d images, fewer than the %d that are asked for after %d skipped",
				name, n, c.limit, c.skip))
		}
	}
	return errors.Join(errs...)
}
