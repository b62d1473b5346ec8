package storagetest

import (
	"context"
	"io"
	"sync"
	"time"

	"pupil/storage"
)

// Throttled is a bucket behind a link: all Gets together read at a rate that changes with time. It is safe for concurrent use,
// and meant for testing/synctest, where waiting costs nothing.
type Throttled struct {
	storage.Bucket
	Rate func(since time.Duration) float64 // bytes a second, this long after the first read; 0 for a while is an outage

	mu    sync.Mutex
	begin time.Time
	free  time.Time // when the link has sent what was asked for so far
}

// tick is how exactly the rate is followed.
const tick = time.Millisecond

// sent returns when n more bytes have been sent.
func (t *Throttled) sent(n int) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.begin.IsZero() {
		t.begin = now
	}
	if t.free.Before(now) {
		t.free = now
	}
	for left := float64(n); left > 0; {
		rate := t.Rate(t.free.Sub(t.begin))
		if part := rate * tick.Seconds(); part < left {
			left -= part
			t.free = t.free.Add(tick)
			continue
		}
		t.free = t.free.Add(time.Duration(left / rate * float64(time.Second)))
		break
	}
	return t.free
}

// Get implements storage.Bucket.
func (t *Throttled) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := t.Bucket.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &throttledReader{r, ctx, t}, nil
}

type throttledReader struct {
	io.ReadCloser
	ctx  context.Context
	link *Throttled
}

// Read implements io.Reader.
func (r *throttledReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	wait := time.NewTimer(time.Until(r.link.sent(n)))
	defer wait.Stop()
	select {
	case <-wait.C:
		return n, err
	case <-r.ctx.Done():
		return n, r.ctx.Err()
	}
}
