package serve

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// collected runs a batcher of up to 4 images and 10 ms, lets feed give it tasks, and returns the batches' sizes.
func collected(t *testing.T, feed func(b *batcher, give func(coming int))) (sizes []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		b := &batcher{queue: make(chan *task, 100), size: 4, delay: 10 * time.Millisecond, worked: func(n int) { sizes = append(sizes, n) }}
		b.compute = func(_ int, batch []*task) {
			for _, task := range batch {
				task.done <- answer{}
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.run(ctx, 0)
		}()
		feed(b, func(coming int) {
			b.coming.Add(int64(coming))
			b.queue <- &task{ctx: t.Context(), done: make(chan answer, 1)}
		})
		synctest.Wait()
		end()
		<-ended
	})
	return sizes
}

func TestBatches(t *testing.T) {
	for name, c := range map[string]struct {
		feed func(b *batcher, give func(coming int))
		want []int
	}{
		"alone, at once": {func(_ *batcher, give func(int)) {
			start := time.Now()
			give(1)
			synctest.Wait()
			if time.Since(start) != 0 {
				t.Error("an image alone has waited")
			}
		}, []int{1}},
		"others on their way": {func(_ *batcher, give func(int)) {
			give(3)
			synctest.Wait()
			give(0)
			synctest.Wait()
			give(0)
		}, []int{3}},
		"others too late": {func(_ *batcher, give func(int)) {
			give(2)
			synctest.Wait()
			<-time.After(9 * time.Millisecond) // of the bubble
			synctest.Wait()
			<-time.After(2 * time.Millisecond) // of the bubble
			synctest.Wait()
			give(0)
		}, []int{1, 1}},
		"full": {func(_ *batcher, give func(int)) {
			give(9)
			for range 8 {
				give(0)
			}
		}, []int{4, 4, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := collected(t, c.feed); !slices.Equal(got, c.want) {
				t.Errorf("batches of %v, want %v", got, c.want)
			}
		})
	}
}

// A request that has ended is passed over, and what is queued when the server ends is answered.
func TestEndedRequests(t *testing.T) {
	b := &batcher{queue: make(chan *task, 10), size: 4, worked: func(int) {}}
	computed := 0
	b.compute = func(_ int, batch []*task) { computed += len(batch) }
	gone := errors.New("gone")
	left, leave := context.WithCancelCause(t.Context())
	leave(gone)
	ended := &task{ctx: left, done: make(chan answer, 1)}
	b.coming.Add(3)
	b.queue <- ended
	b.queue <- &task{ctx: t.Context(), done: make(chan answer, 1)}
	b.queue <- &task{ctx: t.Context(), done: make(chan answer, 1)}
	over, end := context.WithCancel(t.Context())
	end()
	b.run(over, 0)
	if a := <-ended.done; !errors.Is(a.err, gone) || computed != 2 || b.coming.Load() != 0 {
		t.Errorf("%v, %d computed, %d coming", a.err, computed, b.coming.Load())
	}
}
