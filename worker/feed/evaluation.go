package feed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"pupil/augment"
	"pupil/storage/dataset"
)

// EvaluationConfig says how a whole dataset is read for an evaluation.
type EvaluationConfig struct {
	Data       *dataset.Dataset
	View       *augment.Pipeline // without random operations; what random ones draw depends on the sample alone
	Channels   int               // of the decoded images, 1 or 3; 0: the view's
	Batch      int               // images; 1 or more
	Limit      int               // images, spread evenly over the dataset; 0, or more than there are: all
	SkipBroken bool              // an image that cannot be decoded is left out; else it is an error
	Workers    int               // goroutines that decode; 0: as many as Go uses threads
}

// Count is the number of images that are read.
func (c *EvaluationConfig) Count() int {
	if n := c.Data.Count(); c.Limit == 0 || c.Limit > n {
		return n
	}
	return c.Limit
}

// number is that of image i of those that are read in the dataset.
func (c *EvaluationConfig) number(i int) int { return i * c.Data.Count() / c.Count() }

// EvaluationBatch is the images k*Batch, ..., (k+1)*Batch-1 of those that are read, in the dataset's order.
type EvaluationBatch struct {
	Images  []float32        // [Batch, size, size, channels]; zeros after the first Count images
	Labels  []int            // [Count]; -1: the image has none
	Samples []dataset.Sample // [Count]
	Count   int              // Batch, but less in the last batch and where images were left out
	Skipped int              // images that could not be decoded and were left out

	results []result
}

// Evaluation returns an iterator over all images of a dataset, each once and in order, in batches of one size: what is
// missing in the last one is zeros. While the caller works with a batch the next one is made. A batch is the caller's
// until the next iteration. After an error there are no more batches. All goroutines have ended when the loop has.
func Evaluation(ctx context.Context, c EvaluationConfig) iter.Seq2[*EvaluationBatch, error] {
	return func(yield func(*EvaluationBatch, error) bool) {
		if c.Workers == 0 {
			c.Workers = runtime.GOMAXPROCS(0)
		}
		if c.Channels == 0 && c.View != nil {
			c.Channels = c.View.Config().Channels
		}
		if err := c.validate(); err != nil {
			yield(nil, fmt.Errorf("evaluation: %w", err))
			return
		}
		c.iterate(ctx, yield)
	}
}

func (c *EvaluationConfig) validate() error {
	var faults []error
	if c.Data == nil {
		faults = append(faults, errors.New("there is no dataset"))
	}
	if c.View == nil {
		faults = append(faults, errors.New("there is no view"))
	}
	if c.Channels != 1 && c.Channels != 3 {
		faults = append(faults, fmt.Errorf("channels is %d; it must be 1 or 3", c.Channels))
	}
	if c.Limit < 0 {
		faults = append(faults, fmt.Errorf("limit is %d; it must be 0 or more images", c.Limit))
	}
	if c.Batch < 1 {
		faults = append(faults, fmt.Errorf("batch is %d; it must be 1 image or more", c.Batch))
	}
	if c.Workers < 1 {
		faults = append(faults, fmt.Errorf("workers is %d; it must be 1 goroutine or more", c.Workers))
	}
	return errors.Join(faults...)
}

// iterate has two batches: one is with the caller, one is being made.
func (c *EvaluationConfig) iterate(ctx context.Context, yield func(*EvaluationBatch, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	free, ready := make(chan *EvaluationBatch, 2), make(chan *EvaluationBatch)
	for range cap(free) {
		free <- &EvaluationBatch{Images: make([]float32, c.Batch*c.View.Len()), results: make([]result, c.Batch)}
	}
	var maker sync.WaitGroup
	var failure error // may be read when ready is closed
	maker.Go(func() {
		defer close(ready)
		failure = c.produce(ctx, free, ready)
	})
	defer maker.Wait()
	defer cancel()
	for b := range ready {
		if !yield(b, nil) {
			return
		}
		free <- b
	}
	if failure != nil {
		yield(nil, failure)
	}
}

func (c *EvaluationConfig) produce(ctx context.Context, free, ready chan *EvaluationBatch) error {
	for first := 0; first < c.Count(); first += c.Batch {
		var b *EvaluationBatch
		select {
		case b = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := c.fill(ctx, b, first); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		select {
		case ready <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// fill makes the images from number first on.
func (c *EvaluationConfig) fill(ctx context.Context, b *EvaluationBatch, first int) error {
	n, size := min(c.Batch, c.Count()-first), c.View.Len()
	b.Labels, b.Samples = slices.Grow(b.Labels[:0], n)[:n], slices.Grow(b.Samples[:0], n)[:n]
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(c.Workers, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				number := c.number(first + i)
				s, img, err := load(ctx, c.Data, number, c.Channels, c.View.Background())
				b.Samples[i], b.Labels[i], b.results[i] = s, s.Label, result{err: err}
				if err == nil {
					c.View.Apply(b.Images[i*size:][:size], img, augment.Key{Sample: uint64(number)})
				}
			}
		})
	}
	workers.Wait()
	return c.compact(b, n)
}

// compact moves the images that could be decoded to the front and clears the rest.
func (c *EvaluationConfig) compact(b *EvaluationBatch, n int) error {
	size, count := c.View.Len(), 0
	for i, r := range b.results[:n] {
		if r.err != nil {
			if c.SkipBroken && errors.Is(r.err, ErrBroken) {
				continue
			}
			return r.err
		}
		if count < i {
			copy(b.Images[count*size:][:size], b.Images[i*size:][:size])
			b.Samples[count], b.Labels[count] = b.Samples[i], b.Labels[i]
		}
		count++
	}
	clear(b.Images[count*size:])
	b.Count, b.Skipped, b.Labels, b.Samples = count, n-count, b.Labels[:count], b.Samples[:count]
	return nil
}
