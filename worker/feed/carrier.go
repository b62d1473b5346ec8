package feed

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Carrier feeds a worker whose lanes change while it trains: a lane that stays keeps the batches that are made for it,
// and one that comes begins at the step that is asked for. At most Config.Workers images are made at a time, for all
// lanes together.
type Carrier struct {
	config Config
	last   int // one past the last step
	living context.Context
	end    context.CancelFunc
	ended  sync.WaitGroup // of the lanes' feeds

	mu    sync.Mutex
	lanes map[int]*carried
}

// carried is a lane with a feed of its own.
type carried struct {
	feed *Feed
	next int // step of the batch that comes next
	end  context.CancelFunc
}

// NewCarrier returns a carrier without lanes, for steps up to lastStep-1, counted over the whole job. An error lists
// every fault of the arguments.
func NewCarrier(c Config, lastStep int) (*Carrier, error) {
	c = c.withDefaults()
	if err := c.validate(nil, 0, lastStep); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	c.places = make(chan struct{}, c.Workers)
	r := &Carrier{config: c, last: lastStep, lanes: map[int]*carried{}}
	r.living, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Carry lets go of the lanes that are not among those given.
func (r *Carrier) Carry(lanes []int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.config.validate(lanes, 0, r.last); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	for n, l := range r.lanes {
		if !slices.Contains(lanes, n) {
			l.end()
			delete(r.lanes, n)
		}
	}
	return nil
}

// Next returns a lane's batch of a step. In general it is the one after the batch that was taken before, and is made
// already; for another step the lane begins anew there. Errors are those of Feed.Next. A lane's calls must not overlap.
func (r *Carrier) Next(ctx context.Context, lane, step int) (*Batch, error) {
	l, err := r.at(lane, step)
	if err != nil {
		return nil, err
	}
	b, err := l.feed.Next(ctx, lane)
	if err == nil {
		l.next++
	}
	return b, err
}

// at is the lane with its feed at a step.
func (r *Carrier) at(lane, step int) (*carried, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.living.Err() != nil {
		return nil, fmt.Errorf("feed: lane %d is asked for after the end", lane)
	}
	l := r.lanes[lane]
	if l != nil && l.next == step {
		return l, nil
	}
	if l != nil {
		l.end()
	}
	f, err := New(r.config, []int{lane}, step, r.last)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(r.living)
	l = &carried{feed: f, next: step, end: end}
	r.lanes[lane] = l
	r.ended.Go(func() { _ = f.Run(ctx) }) // Next tells of a failure
	return l, nil
}

// Close ends all lanes, and returns after all goroutines have ended. Batches that were taken stay whole.
func (r *Carrier) Close() {
	r.mu.Lock() // no lane begins after the end
	r.end()
	r.mu.Unlock()
	r.ended.Wait()
}
