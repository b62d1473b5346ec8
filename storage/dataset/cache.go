package dataset

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// sized is what a cache keeps.
type sized interface{ bytes() int64 }

// cache keeps values up to a bound in bytes; one stays even when it is larger than the bound. Those that were not used for longest
// go first, and before them those of which get was told that they have had their use. Goroutines that want the same value at the
// same time share one load.
type cache[K comparable, V sized] struct {
	limit int64
	load  func(ctx context.Context, key K) (V, error)

	mu     sync.Mutex
	bytes  int64
	recent *list.List          // of item, the one that goes first at the back
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

// get returns a value; spent tells that it will not be wanted again soon. A load that failed is not kept: the next get tries
// again. A caller that waits for the load of another whose context ends takes the load over.
func (c *cache[K, V]) get(ctx context.Context, key K, spent bool) (V, error) {
	for {
		c.mu.Lock()
		if e, ok := c.loaded[key]; ok {
			c.move(e, spent)
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
			v, err := c.load(ctx, key)
			c.land(key, f, v, err, spent)
			return v, err
		}
		select {
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		case <-f.done:
		}
		abandoned := errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded) ||
			errors.Is(f.err, errReleased) || errors.Is(f.err, errSpare)
		if f.err == nil && spent {
			c.mu.Lock()
			if e, ok := c.loaded[key]; ok {
				c.move(e, true)
			}
			c.mu.Unlock()
		}
		if !abandoned || ctx.Err() != nil {
			return f.value, f.err
		}
	}
}

// move puts a value where it goes last, or first; the lock is held.
func (c *cache[K, V]) move(e *list.Element, spent bool) {
	if spent {
		c.recent.MoveToBack(e)
		return
	}
	c.recent.MoveToFront(e)
}

// errReleased ends a load that was claimed and not made; errSpare one whose value nobody has asked for: it is kept where there
// is room for it.
var (
	errReleased = errors.New("the load was not made")
	errSpare    = errors.New("the load was made for later")
)

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
		claimed[key] = func(v V, err error) { c.land(key, f, v, err, false) }
	}
	return claimed
}

// land ends a load and tells those who wait for it.
func (c *cache[K, V]) land(key K, f *flight[V], v V, err error, spent bool) {
	f.value, f.err = v, err
	c.mu.Lock()
	delete(c.flight, key)
	if err == nil || errors.Is(err, errSpare) && c.bytes+v.bytes() <= c.limit {
		c.keep(key, v, spent)
	}
	c.mu.Unlock()
	close(f.done)
}

// room tells whether n more bytes can be kept without dropping any.
func (c *cache[K, V]) room(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes+n <= c.limit
}

// keep takes a value in and drops those at the back, while there are too many bytes.
func (c *cache[K, V]) keep(key K, v V, spent bool) {
	e := c.recent.PushFront(item[K, V]{key, v})
	c.move(e, spent)
	c.loaded[key] = e
	c.bytes += v.bytes()
	for c.bytes > c.limit && c.recent.Len() > 1 {
		dropped := c.recent.Remove(c.recent.Back()).(item[K, V])
		delete(c.loaded, dropped.key)
		c.bytes -= dropped.value.bytes()
	}
}
