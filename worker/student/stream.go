package student

import (
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"pupil/augment"
	"pupil/worker/student/images"
)

// ErrBroken is the reason for an error about an image that cannot be decoded. The error names the image.
var ErrBroken = errors.New("broken image")

// StreamConfig says how a set of images is computed.
type StreamConfig struct {
	Batch      int            // images that go through the network at once; 0: DefaultBatch
	Threads    int            // batches that are computed at the same time; 0: 1
	SkipBroken bool           // an image that cannot be decoded is told of and left out; else it ends the stream
	Progress   func(done int) // called in order; nil: nobody
}

// DefaultBatch keeps a batch's activations in a core's cache for small images, and is enough for large ones.
const DefaultBatch = 16

// Result is what the network computes of one image.
type Result struct {
	Name       string
	Label      int   // an index of the set's classes; -1: none
	Broken     error // not nil: there is nothing else, see StreamConfig.SkipBroken
	Pooled     []float32
	Logits     []float32 // nil without a classifier
	Projection []float32 // nil without one
}

// work is a batch on its way.
type work struct {
	first   int
	items   []images.Item
	results []Result
	err     error
	done    chan struct{}
}

// Stream computes the images of a set and hands the results to take, in the set's order and from one goroutine. Neither
// the order nor a bit of a result depends on batch and threads. take's error ends the stream.
func (m *Model) Stream(ctx context.Context, set *images.Set, c StreamConfig, take func(Result) error) error {
	if c.Batch == 0 {
		c.Batch = DefaultBatch
	}
	c.Threads = max(1, c.Threads)
	group, ctx := errgroup.WithContext(ctx)
	jobs, order := make(chan *work), make(chan *work, c.Threads)
	group.Go(func() error {
		defer close(jobs)
		defer close(order)
		return cut(ctx, set, c.Batch, func(w *work) error {
			for _, to := range []chan *work{order, jobs} {
				select {
				case to <- w:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	})
	for range c.Threads {
		group.Go(func() error { return m.compute(ctx, jobs, c) })
	}
	group.Go(func() error { return deliver(ctx, order, c, take) })
	return group.Wait()
}

// cut makes batches of a set's images.
func cut(ctx context.Context, set *images.Set, batch int, send func(*work) error) error {
	first := 0
	w := &work{done: make(chan struct{})}
	for item, err := range set.All(ctx) {
		if err != nil {
			return err
		}
		if w.items = append(w.items, item); len(w.items) == batch {
			if err := send(w); err != nil {
				return err
			}
			first += batch
			w = &work{first: first, done: make(chan struct{})}
		}
	}
	if len(w.items) == 0 {
		return nil
	}
	return send(w)
}

// compute does batches until there are no more. A batch's own error is for deliver, which meets it in order.
func (m *Model) compute(ctx context.Context, jobs <-chan *work, c StreamConfig) error {
	r, err := m.NewRunner(c.Batch)
	if err != nil {
		return err
	}
	defer r.Close()
	values := make([]float32, c.Batch*m.view.Len())
	for w := range jobs {
		w.err = m.do(ctx, r, w, values, c.SkipBroken)
		close(w.done)
	}
	return nil
}

func (m *Model) do(ctx context.Context, r *Runner, w *work, values []float32, skip bool) error {
	w.results = make([]Result, len(w.items))
	size, used := m.view.Len(), 0
	for i, item := range w.items {
		to := &w.results[i]
		to.Name, to.Label = item.Name, item.Label
		data, err := item.Read(ctx)
		if err == nil {
			if err = m.Decode(values[used*size:][:size], data, augment.Key{Sample: uint64(w.first + i)}); err == nil {
				used++
				continue
			}
		} else if !errors.Is(err, images.ErrBytes) {
			return fmt.Errorf("read %s: %w", item.Name, err)
		}
		to.Broken = fmt.Errorf("%w: %s: %w", ErrBroken, item.Name, err)
		if !skip {
			return to.Broken
		}
	}
	out, err := r.Run(values[:used*size])
	if err != nil {
		return err
	}
	for i := range w.results {
		if to := &w.results[i]; to.Broken == nil {
			to.Pooled = next(&out.Pooled, m.Network.Features())
			to.Logits = next(&out.Logits, m.Config.Outputs)
			to.Projection = next(&out.Projection, m.Config.Projection)
			if err := to.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// check refuses what no sum or comparison can use.
func (r *Result) check() error {
	for _, row := range [][]float32{r.Pooled, r.Logits, r.Projection} {
		for _, v := range row {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%s: the network gives the value %v; its weights are too large, or broken", r.Name, v)
			}
		}
	}
	return nil
}

// next takes the first row of a matrix, nil of an empty one.
func next(rows *[]float32, width int) []float32 {
	if len(*rows) == 0 {
		return nil
	}
	row := (*rows)[:width:width]
	*rows = (*rows)[width:]
	return row
}

func deliver(ctx context.Context, order <-chan *work, c StreamConfig, take func(Result) error) error {
	done := 0
	for w := range order {
		select {
		case <-w.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if w.err != nil {
			return w.err
		}
		for _, r := range w.results {
			if err := take(r); err != nil {
				return err
			}
		}
		if done += len(w.results); c.Progress != nil {
			c.Progress(done)
		}
	}
	return nil
}
