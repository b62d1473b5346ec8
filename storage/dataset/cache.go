package dataset

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// sized is what a cache keeps.
type sized interface{ bytes() int64 }

// cache keeps the values that were used last, up to a bound in bytes; one stays even when it is larger than the bound.
// Goroutines that want the same value at the same time share one load.
type cache[K comparable, V sized] struct {
	limit int64
	load  func(ctx context.Context, key K) (V, error)

	mu     sync.Mutex
	bytes  int64
	recent *list.List          // of item, the one used last in front
	loaded map[K]*list.Element //
	flight map[K]*flight[V]    // loads under way
}

// item is an element of a cache.
type item[K comparable, V sized] struct {
	key   K
	value V
}

// flight is a load under way. The result is there when done is closed.
type flight[V sized] struct {
	done  chan struct{}
	value V
	err   error
}

func newCache[K comparable, V sized](limit int64, load func(context.Context, K) (V, error)) *cache[K, V] {
	return &cache[K, V]{limit: limit, load: load, recent: list.New(), loaded: map[K]*list.Element{}, flight: map[K]*flight[V]{}}
}

// get returns a value. A load that failed is not kept: the next get tries again. A caller that waits for the load of
// another whose context ends takes the load over.
func (c *cache[K, V]) get(ctx context.Context, key K) (V, error) {
	for {
		c.mu.Lock()
		if e, ok := c.loaded[key]; ok {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(item[K, V]).value, nil
		}
		f, waiting := c.flight[key]
		if !waiting {
			f = &flight[V]{done: make(chan struct{})}
			c.flight[key] = f
		}
		c.mu.Unlock()
		if !waiting {
			return c.fly(ctx, key, f)
		}
		select {
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		case <-f.done:
		}
		abandoned := errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded) || errors.Is(f.err, errReleased)
		if !abandoned || ctx.Err() != nil {
			return f.value, f.err
		}
	}
}

// errReleased ends a load that was claimed and not made.
var errReleased = errors.New("the load was not made")

// landing ends a load that was claimed: with a value, or the reason why there is none.
type landing[V sized] func(v V, err error)

// claim takes over the loads of those keys that are neither there nor under way. Each landing must be called once.
func (c *cache[K, V]) claim(keys []K) map[K]landing[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	claimed := map[K]landing[V]{}
	for _, key := range keys {
		_, loaded := c.loaded[key]
		_, waiting := c.flight[key]
		if loaded || waiting {
			continue
		}
		f := &flight[V]{done: make(chan struct{})}
		c.flight[key] = f
		claimed[key] = func(v V, err error) { c.land(key, f, v, err) }
	}
	return claimed
}

// fly loads a value and tells those who wait for it.
func (c *cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) (V, error) {
	v, err := c.load(ctx, key)
	c.land(key, f, v, err)
	return v, err
}

func (c *cache[K, V]) land(key K, f *flight[V], v V, err error) {
	f.value, f.err = v, err
	c.mu.Lock()
	delete(c.flight, key)
	if err == nil {
		c.keep(key, v)
	}
	c.mu.Unlock()
	close(f.done)
}

// keep puts a value in front and drops those that were not used for longest, while there are too many bytes.
func (c *cache[K, V]) keep(key K, v V) {
	c.loaded[key] = c.recent.PushFront(item[K, V]{key, v})
	c.bytes += v.bytes()
	for c.bytes > c.limit && c.recent.Len() > 1 {
		dropped := c.recent.Remove(c.recent.Back()).(item[K, V])
		delete(c.loaded, dropped.key)
		c.bytes -= dropped.value.bytes()
	}
}
