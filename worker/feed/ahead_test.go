package feed_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/worker/feed"
)

// gated is a bucket whose shards can be read only when the test lets them.
type gated struct {
	storage.Bucket
	mu     sync.Mutex
	asked  map[int64]bool // offsets of Gets that wait or have passed
	change chan struct{}  // closed at each new Get
	open   chan struct{}
}

func (g *gated) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key == "shard-00000.tar" {
		g.mu.Lock()
		g.asked[offset] = true
		close(g.change)
		g.change = make(chan struct{})
		g.mu.Unlock()
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Bucket.Get(ctx, key, offset, length)
}

// await returns when so many blocks have been asked for.
func (g *gated) await(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		asked, change := len(g.asked), g.change
		g.mu.Unlock()
		if asked >= n {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestFetchesAhead holds every answer of the store: several blocks are asked for before the first image has arrived, though one
// goroutine decodes. Then the batches are those of a feed without a slow store.
func TestFetchesAhead(t *testing.T) {
	b, d := pack(t, 64, 64)
	c := feed.Config{Data: d, Order: order(d, 4, 1, 4), Views: views(t, nil, strong(t)), Seed: 5, Workers: 1}
	want, _, err := run(t, c, []int{0}, 0, 6)
	if err != nil {
		t.Fatal(err)
	}
	g := &gated{Bucket: b, asked: map[int64]bool{}, change: make(chan struct{}), open: make(chan struct{})}
	slow, err := dataset.Open(t.Context(), g, dataset.Block(4))
	if err != nil {
		t.Fatal(err)
	}
	c.Data = slow
	f, err := feed.New(c, []int{0}, 0, 6)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.Run(t.Context()) }()
	if err := g.await(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	close(g.open)
	for step := range 6 {
		got, err := f.Next(t.Context(), 0)
		if err != nil || !slices.Equal(got.Student, want[0][step].Student) {
			t.Fatalf("step %d: another batch, %v", step, err)
		}
	}
	if _, err := f.Next(t.Context(), 0); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
