package train

import (
	"sync"
	"time"
)

// overlap adds up the time in which gradients are under way between the workers, from the first bucket that leaves to
// the last that has come, without gaps. What of it lies after the computing is not hidden.
type overlap struct {
	mu    sync.Mutex
	under int           // buckets
	since time.Time     // some were under way
	total time.Duration // before that
	last  time.Time     // when the last one had come
}

// begin says that a bucket leaves; the function that it returns says that its sum has come.
func (o *overlap) begin() (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.under == 0 {
		o.since = time.Now()
	}
	o.under++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.under--
		if o.under == 0 {
			o.last = time.Now()
			o.total += o.last.Sub(o.since)
		}
	}
}

// take returns the time under way, and the part of it after the computing had ended, and begins anew. Nothing may be
// under way.
func (o *overlap) take(computed time.Time) (total, exposed time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	total = o.total
	if !o.last.IsZero() {
		exposed = min(total, max(0, o.last.Sub(computed)))
	}
	o.total, o.last = 0, time.Time{}
	return total, exposed
}
