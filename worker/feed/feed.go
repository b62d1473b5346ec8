package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Feed makes the batches of some lanes, from one step to another.
type Feed struct {
	config  Config
	lanes   []*lane
	first   int // step
	last    int // one past the last step
	tasks   chan task
	ahead   *ahead
	started atomic.Bool
}

// New returns a feed of the lanes' batches of the steps firstStep, ..., lastStep-1, counted over the whole job. It
// starts nothing: Run does. An error lists every fault of the arguments.
func New(c Config, lanes []int, firstStep, lastStep int) (*Feed, error) {
	c = c.withDefaults()
	if err := c.validate(lanes, firstStep, lastStep); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	f := &Feed{config: c, first: firstStep, last: lastStep, tasks: make(chan task), ahead: newAhead(c, len(lanes))}
	for _, l := range lanes {
		f.lanes = append(f.lanes, newLane(l, c.Prefetch))
	}
	return f, nil
}

// Run makes batches until the last step's are made, every lane has failed, or ctx has ended; all goroutines have ended
// when it returns. A lane that fails hands out the batches before its failure and then the error; the other lanes go
// on. Run returns the error of the first lane that failed, in the order of New's lanes, context.Cause(ctx) when ctx
// ended before the last batch was made, else nil.
func (f *Feed) Run(ctx context.Context) error {
	if f.started.Swap(true) {
		return errors.New("feed: Run was called twice")
	}
	var workers, lanes, fetching sync.WaitGroup
	fetching.Go(func() { f.ahead.run(ctx) })
	for range f.config.Workers {
		workers.Go(func() {
			for t := range f.tasks {
				t.batch.results[t.i] = f.do(ctx, t)
				t.batch.pending.Done()
			}
		})
	}
	for _, l := range f.lanes {
		lanes.Go(func() { l.run(ctx, f) })
	}
	lanes.Wait()
	close(f.tasks)
	close(f.ahead.wanted)
	workers.Wait()
	fetching.Wait()
	for _, l := range f.lanes {
		if !errors.Is(l.err, io.EOF) {
			return l.err
		}
	}
	return nil
}

// Next returns the lane's batch of the next step; it waits until the batch is made or ctx has ended. After the last
// step it returns io.EOF, after a failure the reason: an image that cannot be decoded (ErrBroken), a shard that cannot
// be read, or the cause for which Run's ctx ended.
func (f *Feed) Next(ctx context.Context, lane int) (*Batch, error) {
	for _, l := range f.lanes {
		if l.number == lane {
			return l.next(ctx)
		}
	}
	return nil, fmt.Errorf("feed: lane %d is not one of this feed", lane)
}
