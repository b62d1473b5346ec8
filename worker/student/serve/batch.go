package serve

import (
	"context"
	"sync/atomic"
	"time"
)

// task is one image on its way through a batch.
type task struct {
	ctx    context.Context // of its request; a task whose request has ended is passed over
	values []float32       // what the network takes
	done   chan answer     // has room for one
}

// answer is what the network computes of an image.
type answer struct {
	pooled, logits []float32
	err            error
}

// batcher collects tasks that are there at about the same time. A batch ends when it is full, when its first task has waited
// for delay, or when no other image is on its way: a client alone waits for nobody.
type batcher struct {
	queue   chan *task
	size    int
	delay   time.Duration
	coming  atomic.Int64 // images of requests that have begun and are not in a batch yet
	compute func(worker int, batch []*task)
	worked  func(images int) // of each batch, for metrics
}

// run makes batches until ctx ends, and then until the queue is empty.
func (b *batcher) run(ctx context.Context, worker int) {
	for {
		select {
		case t := <-b.queue:
			b.do(worker, t)
		case <-ctx.Done():
			select {
			case t := <-b.queue:
				b.do(worker, t)
			default:
				return
			}
		}
	}
}

func (b *batcher) do(worker int, first *task) {
	batch := b.gather(first)
	if len(batch) > 0 {
		b.worked(len(batch))
		b.compute(worker, batch)
	}
}

// gather is the batch of its first task.
func (b *batcher) gather(first *task) (batch []*task) {
	take := func(t *task) {
		b.coming.Add(-1)
		if t.ctx.Err() != nil {
			t.done <- answer{err: context.Cause(t.ctx)}
			return
		}
		batch = append(batch, t)
	}
	take(first)
	var late <-chan time.Time
	for len(batch) < b.size {
		select {
		case t := <-b.queue:
			take(t)
			continue
		default:
		}
		if b.delay == 0 || b.coming.Load() <= 0 {
			return batch
		}
		if late == nil {
			timer := time.NewTimer(b.delay)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case t := <-b.queue:
			take(t)
		case <-late:
			return batch
		}
	}
	return batch
}
