// Package linktest holds implementations of allreduce.Link to one contract: that of the interface, and that rings over
// them keep their promises.
package linktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/allreduce"
)

// Open connects size ranks with new links, by rank, that carry messages of at least 300 KB. What is not closed when the
// test ends is for Open's Cleanup. Links that are io.Closers are closed by some tests.
type Open func(t testing.TB, size int) []allreduce.Link

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Messages", testMessages},
		{"Refused", testRefused},
		{"Closed", testClosed},
		{"Sums", testSums},
		{"Buckets", testBuckets},
		{"Abort", testAbort},
		{"Cancel", testCancel},
		{"DeadPeer", testDeadPeer},
		{"Leave", testLeave},
		{"Released", testReleased},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// patience bounds what must come. It is long, so that a busy machine does not matter.
const patience = time.Minute

// testMessages: a message arrives as it was sent, whatever its size, and is the receiver's own.
func testMessages(t *testing.T, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	links := open(t, 3)
	for _, size := range []int{1, allreduce.HeaderSize, 300_000, min(links[0].Limits().Message, 2<<20)} {
		message := bytes.Repeat([]byte{7, 1, 9}, size/3+1)[:size]
		sent := bytes.Clone(message)
		for to := range links {
			if err := links[2].Send(to, message); err != nil {
				t.Fatalf("send %d bytes to rank %d: %v", size, to, err)
			}
		}
		clear(message) // the sender's again
		var first []byte
		for to, l := range links {
			got, err := l.Receive(ctx)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("rank %d received %d bytes that differ from the %d sent, error %v", to, len(got), size, err)
			}
			if to == 0 {
				first = got
			} else {
				clear(got) // the receiver's own
			}
		}
		if !bytes.Equal(first, sent) {
			t.Fatalf("receivers share the memory of a message of %d bytes", size)
		}
	}
}

// testRefused: what cannot be sent is an error of that message alone.
func testRefused(t *testing.T, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	links := open(t, 2)
	limits := links[0].Limits()
	if limits.Message <= 0 || limits.Pending < limits.Message {
		t.Errorf("limits are %+v", limits)
	}
	for _, to := range []int{-1, 2} {
		if err := links[0].Send(to, []byte("x")); err == nil || errors.Is(err, allreduce.ErrLinkClosed) {
			t.Errorf("send to rank %d of 2: error %v", to, err)
		}
	}
	if err := links[0].Send(1, make([]byte, limits.Message+1)); err == nil || errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("send of %d bytes: error %v", limits.Message+1, err)
	}
	if err := links[0].Send(1, []byte("x")); err != nil {
		t.Error(err)
	}
	if got, err := links[1].Receive(ctx); err != nil || string(got) != "x" {
		t.Errorf("received %q, error %v", got, err)
	}
}

// testClosed: Close and the context end a Receive that waits.
func testClosed(t *testing.T, open Open) {
	links := open(t, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	done := make(chan error)
	receive := func(ctx context.Context) {
		_, err := links[0].Receive(ctx)
		done <- err
	}
	go receive(ctx)
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Errorf("Receive returned %v after its context had ended", err)
	}
	closer, ok := links[0].(io.Closer)
	if !ok {
		return
	}
	go receive(t.Context())
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Receive returned %v after Close", err)
	}
	if err := links[0].Send(1, []byte("x")); !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Send returned %v after Close", err)
	}
	if err := closer.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Group is the rings of all ranks, running.
type Group struct {
	Rings []*allreduce.Ring
	links []allreduce.Link
	stop  context.CancelFunc
	runs  sync.WaitGroup
	Ends  []error // what Run returned, by rank; after Stop
}

// Start runs a ring over each link. c's Rank and Size are set here; absent ranks have no ring.
func Start(t testing.TB, links []allreduce.Link, c allreduce.Config, absent ...int) *Group {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	g := &Group{links: links, stop: stop, Ends: make([]error, len(links)), Rings: make([]*allreduce.Ring, len(links))}
	t.Cleanup(g.Stop)
	missing := map[int]bool{}
	for _, rank := range absent {
		missing[rank] = true
	}
	for rank, link := range links {
		if missing[rank] {
			continue
		}
		c.Rank, c.Size = rank, len(links)
		ring, err := allreduce.New(link, c)
		if err != nil {
			t.Fatal(err)
		}
		g.Rings[rank] = ring
		g.runs.Go(func() { g.Ends[rank] = ring.Run(ctx) })
	}
	return g
}

// Stop ends the rings and waits for them.
func (g *Group) Stop() {
	g.stop()
	g.runs.Wait()
}

// Each calls f for every rank at the same time and returns the errors by rank.
func (g *Group) Each(f func(rank int, r *allreduce.Ring) error) []error {
	errs := make([]error, len(g.Rings))
	var group sync.WaitGroup
	for rank, r := range g.Rings {
		if r != nil {
			group.Go(func() { errs[rank] = f(rank, r) })
		}
	}
	group.Wait()
	return errs
}

// Step reduces a vector of every length in lengths, int32 and int64 in turn, all at the same time, each rank in another
// order, and commits. It returns the first wrong sum or error.
func Step(ctx context.Context, r *allreduce.Ring, rank, size int, step uint64, lengths []int) error {
	errs := make(chan error, len(lengths))
	for i := range lengths {
		b := (i*(2*(rank%2)+1) + rank) % len(lengths) // a permutation when len(lengths) is no multiple of 3
		go func() {
			if b%2 == 0 {
				errs <- reduce32(ctx, r, rank, size, step, uint32(b), lengths[b])
			} else {
				errs <- reduce64(ctx, r, rank, size, step, uint32(b), lengths[b])
			}
		}()
		if (rank+i)%2 == 0 {
			runtime.Gosched()
		}
	}
	var all []error
	for range lengths {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return r.Commit(ctx, step)
}

// element is what a rank gives; any sum of 64 of its lower 26 bits fits an int32.
func element(rank int, step uint64, bucket uint32, i int) int64 {
	x := uint64(rank+1)*0x9e3779b97f4a7c15 + step*0xbf58476d1ce4e5b9 + uint64(bucket)*0x94d049bb133111eb + uint64(i)
	x ^= x >> 31
	x *= 0x7fb5d329728ea185
	return int64(x^x>>27) >> 7
}

func reduce32(ctx context.Context, r *allreduce.Ring, rank, size int, step uint64, bucket uint32, n int) error {
	part := func(rank, i int) int32 { return int32(element(rank, step, bucket, i) << 38 >> 38) }
	v := make([]int32, n)
	for i := range v {
		v[i] = part(rank, i)
	}
	if err := r.ReduceInt32(ctx, step, bucket, v); err != nil {
		return err
	}
	for i, got := range v {
		want := int32(0)
		for k := range size {
			want += part(k, i)
		}
		if got != want {
			return fmt.Errorf("rank %d, step %d, bucket %d: element %d of %d is %d, not %d", rank, step, bucket, i, n, got, want)
		}
	}
	return nil
}

func reduce64(ctx context.Context, r *allreduce.Ring, rank, size int, step uint64, bucket uint32, n int) error {
	v := make([]int64, n)
	for i := range v {
		v[i] = element(rank, step, bucket, i)
	}
	if err := r.ReduceInt64(ctx, step, bucket, v); err != nil {
		return err
	}
	for i, got := range v {
		want := int64(0)
		for k := range size {
			want += element(k, step, bucket, i)
		}
		if got != want {
			return fmt.Errorf("rank %d, step %d, bucket %d: element %d of %d is %d, not %d", rank, step, bucket, i, n, got, want)
		}
	}
	return nil
}

func config(deadline time.Duration) allreduce.Config {
	return allreduce.Config{Job: "linktest", Generation: 3, Deadline: deadline}
}

// testSums: one vector at a time, of lengths around every boundary, by one to five ranks.
func testSums(t *testing.T, open Open) {
	for size := 1; size <= 5; size++ {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := Start(t, open(t, size), config(patience))
			for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
				for step, n := range []int{0, 1, 2, size - 1, size, size + 1, 2047, 2049, 40_000, 1 << 18} {
					if err := Step(t.Context(), r, rank, size, uint64(step), []int{n}); err != nil {
						return err
					}
				}
				return nil
			}) {
				if err != nil {
					t.Errorf("rank %d: %v", rank, err)
				}
			}
			g.Stop()
			if err := errors.Join(g.Ends...); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// testBuckets: many buckets at once, begun in another order by every rank, over several steps.
func testBuckets(t *testing.T, open Open) {
	for _, size := range []int{2, 4} {
		c := config(patience)
		c.ChunkBytes, c.Window = 16<<10, 2
		g := Start(t, open(t, size), c)
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			for step := range uint64(5) {
				if err := Step(t.Context(), r, rank, size, step+40, []int{0, 100_000, 7, 30_000, 1, 65_536, 12_345}); err != nil {
					return err
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("rank %d of %d: %v", rank, size, err)
			}
		}
		g.Stop()
	}
}

// testAbort: an abort ends the calls of all ranks.
func testAbort(t *testing.T, open Open) {
	cause := errors.New("worker 7 has died")
	g := Start(t, open(t, 3), config(patience))
	errs := g.Each(func(rank int, r *allreduce.Ring) error {
		switch rank {
		case 0: // the others can get no sum without it
			r.Abort(cause)
			r.Abort(errors.New("too late"))
			return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 100_000))
		case 1:
			return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 100_000))
		}
		return r.ReduceInt64(t.Context(), 0, 1, make([]int64, 1))
	})
	for rank, err := range errs {
		if !errors.Is(err, allreduce.ErrAborted) || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	if !errors.Is(errs[0], cause) {
		t.Errorf("rank 0: %v is not the cause", errs[0])
	}
	g.Stop()
	for rank, err := range g.Ends {
		if !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: Run returned %v", rank, err)
		}
		if err := g.Rings[rank].ReduceInt32(t.Context(), 1, 0, nil); !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: a later call returned %v", rank, err)
		}
	}
}

// testCancel: the end of one call's context ends that call with its cause, and the others' calls.
func testCancel(t *testing.T, open Open) {
	cause := errors.New("the user has lost patience")
	g := Start(t, open(t, 3), config(patience))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
		if rank == 1 {
			return r.ReduceInt64(ctx, 0, 0, make([]int64, 10))
		}
		return r.ReduceInt64(t.Context(), 0, 0, make([]int64, 10))
	}) {
		if rank == 1 && !errors.Is(err, cause) || rank != 1 && !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// testDeadPeer: without one rank, all others get an error.
func testDeadPeer(t *testing.T, open Open) {
	g := Start(t, open(t, 4), config(300*time.Millisecond), 2)
	for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
		return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 100_000))
	}) {
		if rank != 2 && !errors.Is(err, allreduce.ErrDeadline) && !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// testLeave: a rank whose Run ends between steps does not disturb; calls end with ErrClosed.
func testLeave(t *testing.T, open Open) {
	g := Start(t, open(t, 2), config(patience))
	for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
		return Step(t.Context(), r, rank, 2, 0, []int{10})
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	g.Stop()
	for rank, r := range g.Rings {
		if g.Ends[rank] != nil {
			t.Errorf("rank %d: Run returned %v", rank, g.Ends[rank])
		}
		if err := r.Commit(t.Context(), 1); !errors.Is(err, allreduce.ErrClosed) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// testReleased: after an abort in the middle of large reductions nothing is left: no goroutine, no vector.
func testReleased(t *testing.T, open Open) {
	links := open(t, 3)
	g := Start(t, links, config(patience))
	g.Each(func(rank int, r *allreduce.Ring) error {
		for b := range uint32(3) {
			go func() { _ = r.ReduceInt32(t.Context(), 0, b, make([]int32, 1<<20)) }() // it ends with the abort
		}
		if rank == 2 {
			_ = r.ReduceInt64(t.Context(), 0, 9, make([]int64, 10)) // so that the others have begun, or not
			r.Abort(errors.New("enough"))
			return nil
		}
		return r.ReduceInt64(t.Context(), 0, 9, make([]int64, 10))
	})
	g.Stop()
	for rank, r := range g.Rings {
		if s := r.Stats(); s.Held != 0 {
			t.Errorf("rank %d holds %d bytes", rank, s.Held)
		}
	}
	for _, l := range links {
		if c, ok := l.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for begin := time.Now(); ; runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		text := string(stacks[:runtime.Stack(stacks, true)])
		left := strings.Count(text, "allreduce.(*") + strings.Count(text, "link.(*Link)")
		if left == 0 {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("%d goroutines are left:\n%s", left, text)
		}
	}
}
