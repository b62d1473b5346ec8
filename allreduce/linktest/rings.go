package linktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"pupil/allreduce"
)

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
		go func() { _, _ = r.Share(t.Context(), 0, 10, nil, 100) }()
		if rank == 2 {
			_ = r.ReduceInt64(t.Context(), 0, 9, make([]int64, 10)) // so that the others have begun, or not
			r.Abort(errors.New("enough"))
			return nil
		}
		return r.ReduceInt64(t.Context(), 0, 9, make([]int64, 10))
	})
	g.Stop()
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
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("%d goroutines are left:\n%s", left, text)
		}
	}
	for rank, r := range g.Rings {
		if s := r.Stats(); s.Held != 0 || s.Lent != 0 || s.Idle != 0 {
			t.Errorf("rank %d holds %d bytes, %d buffers are in use, %d bytes wait", rank, s.Held, s.Lent, s.Idle)
		}
	}
}
