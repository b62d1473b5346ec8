package dataset

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// cache keeps the shards that were used last, up to a bound in bytes; one shard stays even when it is larger than the
// bound. Goroutines that want the same shard at the same time share one load.
type cache struct {
	limit int64
	load  func(ctx context.Context, shard int) (*content, error)

	mu     sync.Mutex
	bytes  int64
	recent *list.List            // of *content, the one used last in front
	loaded map[int]*list.Element // by shard
	flight map[int]*flight       // loads under way, by shard
}

// flight is a load under way. The result is there when done is closed.
type flight struct {
	done    chan struct{}
	content *content
	err     error
}

func newCache(limit int64, load func(context.Context, int) (*content, error)) *cache {
	return &cache{limit: limit, load: load, recent: list.New(), loaded: map[int]*list.Element{}, flight: map[int]*flight{}}
}

// get returns a shard. A load that failed is not kept: the next get tries again. A caller that waits for the load of
// another whose context ends takes the load over.
func (c *cache) get(ctx context.Context, shard int) (*content, error) {
	for {
		c.mu.Lock()
		if e, ok := c.loaded[shard]; ok {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(*content), nil
		}
		f, waiting := c.flight[shard]
		if !waiting {
			f = &flight{done: make(chan struct{})}
			c.flight[shard] = f
		}
		c.mu.Unlock()
		if !waiting {
			return c.fly(ctx, shard, f)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		abandoned := errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)
		if !abandoned || ctx.Err() != nil {
			return f.content, f.err
		}
	}
}

// fly loads a shard and tells those who wait for it.
func (c *cache) fly(ctx context.Context, shard int, f *flight) (*content, error) {
	f.content, f.err = c.load(ctx, shard)
	c.mu.Lock()
	delete(c.flight, shard)
	if f.err == nil {
		c.keep(shard, f.content)
	}
	c.mu.Unlock()
	close(f.done)
	return f.content, f.err
}

// keep puts a shard in front and drops those that were not used for longest, while there are too many bytes.
func (c *cache) keep(shard int, s *content) {
	c.loaded[shard] = c.recent.PushFront(s)
	c.bytes += s.bytes()
	for c.bytes > c.limit && c.recent.Len() > 1 {
		oldest := c.recent.Back()
		dropped := c.recent.Remove(oldest).(*content)
		delete(c.loaded, dropped.number)
		c.bytes -= dropped.bytes()
	}
}
