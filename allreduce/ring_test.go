package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/memlink"
	"pupil/internal/random"
)

func links(size int) (mem []*memlink.Link, all []allreduce.Link) {
	mem = memlink.New(size)
	for _, l := range mem {
		all = append(all, l)
	}
	return mem, all
}

// fault makes a hook that does things to messages with given probabilities.
func fault(rng *random.Stream, drop, repeat, reorder, corrupt, truncate, replay float64) memlink.Fault {
	var held, old [][]byte
	return func(_, _ int, m []byte) (out [][]byte) {
		hit := func(p float64) bool { return rng.Float64() < p }
		if hit(0.1) && len(old) < 100 {
			old = append(old, slices.Clone(m))
		}
		if hit(replay) && len(old) > 0 {
			out = append(out, slices.Clone(old[rng.IntN(len(old))]))
		}
		switch {
		case hit(drop):
			return out
		case hit(reorder):
			held = append(held, m) // until another comes
			return out
		case hit(repeat):
			out = append(out, slices.Clone(m))
		case hit(corrupt):
			m[rng.IntN(len(m))] ^= byte(1 << rng.IntN(8))
		case hit(truncate):
			m = m[:rng.IntN(len(m))]
		}
		out = append(append(out, m), held...)
		held = nil
		return out
	}
}

// Rings over links that lose, repeat, reorder, damage and replay compute right sums.
func TestFaults(t *testing.T) {
	for k, test := range []struct {
		name                                             string
		drop, repeat, reorder, corrupt, truncate, replay float64
	}{
		{name: "repeated", repeat: 0.05},
		{name: "reordered", reorder: 0.2},
		{name: "replayed", replay: 0.05},
		{name: "lost", drop: 0.01},
		{name: "lost often", drop: 0.2},
		{name: "damaged", corrupt: 0.01, truncate: 0.01},
		{name: "all", drop: 0.02, repeat: 0.05, reorder: 0.1, corrupt: 0.02, truncate: 0.02, replay: 0.05},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 4
				mem, all := links(size)
				for rank, l := range mem {
					rng := random.New(random.PurposeTest, 4, uint64(k), uint64(rank))
					l.SetFault(fault(rng, test.drop, test.repeat, test.reorder, test.corrupt, test.truncate, test.replay))
				}
				g := linktest.Start(t, all, allreduce.Config{Job: "faults", Generation: 1, ChunkBytes: 4096})
				for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
					for step := range uint64(6) {
						if err := linktest.Step(t.Context(), r, rank, size, step, []int{50_000, 333, 10_000, 1, 20_000}); err != nil {
							return err
						}
					}
					return nil // the rank stays for the others: its last DONE may have been lost
				}) {
					if err != nil {
						t.Errorf("rank %d: %v", rank, err)
					}
				}
				g.Stop()
				for rank, r := range g.Rings {
					t.Logf("rank %d: %+v", rank, r.Stats())
				}
			})
		})
	}
}

// What waits for a rank that never comes fails at the deadline, not before and not much later.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(3)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, Deadline: 20 * time.Second}, 1)
		begin := time.Now()
		for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
			return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 10))
		}) {
			if rank != 1 && !errors.Is(err, allreduce.ErrDeadline) && !errors.Is(err, allreduce.ErrAborted) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		if d := time.Since(begin); d != 20*time.Second {
			t.Errorf("the calls ended after %s of %s", d, 20*time.Second)
		}
	})
}

// A vector is its caller's again when the call has ended, with an error too: nothing that comes later is written to it.
func TestVectorAfterAnError(t *testing.T) {
	const n = 200_000
	for range 20 {
		_, all := links(2)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, Deadline: time.Minute, ChunkBytes: 8192})
		ctx, cancel := context.WithCancel(t.Context())
		vectors := [][]int32{make([]int32, n), make([]int32, n)}
		g.Each(func(rank int, r *allreduce.Ring) error {
			if rank == 1 {
				cancel() // while the sum is under way, or before
			}
			err := r.ReduceInt32(ctx, 0, 0, vectors[rank])
			for i := range vectors[rank] {
				vectors[rank][i] = 7
			}
			return err
		})
		g.Stop()
		for rank, v := range vectors {
			for i, x := range v {
				if x != 7 {
					t.Fatalf("rank %d: element %d was changed to %d", rank, i, x)
				}
			}
			if s := g.Rings[rank].Stats(); s.Lent != 0 || s.Idle != 0 || s.Held != 0 {
				t.Errorf("rank %d: %+v", rank, s)
			}
		}
	}
}

// A rank that is behind by less than the deadline is waited for, at every kind of call.
func TestLateRank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 3
		_, all := links(size)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, ChunkBytes: 64, Window: 1})
		late := func(d time.Duration) {
			time.Sleep(d) // of the bubble's clock
		}
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			for step := range uint64(4) {
				if int(step)%size == rank {
					late(9 * time.Second)
				}
				v := make([]int32, 3000)
				for i := range v {
					v[i] = int32(rank + i)
				}
				if err := r.ReduceInt32(t.Context(), step, 1, v); err != nil {
					return err
				}
				if v[17] != 3*17+3 {
					return fmt.Errorf("element 17 is %d", v[17])
				}
				if int(step+1)%size == rank {
					late(9 * time.Second)
				}
				if err := r.Commit(t.Context(), step); err != nil {
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
	})
}

// A ring of more ranks than a word has bits.
func TestManyRanks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 70
		_, all := links(size)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, ChunkBytes: 512, Window: 1})
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			return linktest.Step(t.Context(), r, rank, size, 3, []int{1000, 9})
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		g.Stop()
	})
}

// When Run's context ends while calls wait, they end, and so do those of the other ranks.
func TestStopWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(2)
		var rings []*allreduce.Ring
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for rank, run := range []context.Context{ctx, t.Context()} {
			r, err := allreduce.New(all[rank], allreduce.Config{Generation: 1, Rank: rank, Size: 2})
			if err != nil {
				t.Fatal(err)
			}
			rings = append(rings, r)
			group.Go(func() {
				if err := r.Run(run); rank == 0 && err != nil || rank == 1 && !errors.Is(err, allreduce.ErrAborted) {
					t.Errorf("rank %d: Run returned %v", rank, err)
				}
			})
		}
		for rank, want := range []error{allreduce.ErrClosed, allreduce.ErrAborted} {
			group.Go(func() {
				// Another bucket each: none can end.
				if err := rings[rank].ReduceInt32(t.Context(), 0, uint32(rank), make([]int32, 5)); !errors.Is(err, want) {
					t.Errorf("rank %d: %v; want %v", rank, err, want)
				}
			})
		}
		synctest.Wait()
		stop()
		group.Wait()
	})
}

// A ring of one needs no link, and no Run.
func TestAlone(t *testing.T) {
	r, err := allreduce.New(nil, allreduce.Config{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	v, w := []int32{1, -2}, []int64{math.MinInt64}
	for _, err := range []error{
		r.ReduceInt32(t.Context(), 4, 0, v), r.ReduceInt64(t.Context(), 4, 1, w), r.ReduceInt64(t.Context(), 4, 2, nil),
		r.Commit(t.Context(), 4), r.Commit(t.Context(), 5),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(v, []int32{1, -2}) || w[0] != math.MinInt64 {
		t.Errorf("sums %v, %v", v, w)
	}
	err = r.ReduceInt32(t.Context(), 4, 3, v)
	if err == nil || !strings.Contains(err.Error(), "step 5 is committed already") {
		t.Errorf("an old step: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.ReduceInt32(ctx, 6, 3, v); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: error %v", err)
	}
	cause := errors.New("enough")
	r.Abort(cause)
	if err := r.Run(t.Context()); !errors.Is(err, cause) {
		t.Errorf("Run returned %v", err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "called before") {
		t.Errorf("a second Run returned %v", err)
	}
	if err := r.Commit(t.Context(), 6); !errors.Is(err, cause) || !errors.Is(r.Err(), cause) {
		t.Errorf("after Abort: error %v and %v", err, r.Err())
	}
}

// Wrong calls fail alone: the step goes on.
func TestWrongCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(2)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1})
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			v := []int32{int32(rank)}
			if err := r.ReduceInt32(t.Context(), 1, 0, v); err != nil || v[0] != 1 {
				return fmt.Errorf("sum %v, error %w", v, err)
			}
			for _, test := range []struct {
				err  error
				want string
			}{
				{r.ReduceInt32(t.Context(), 1, 0, v), "bucket 0 was started already"},
				{r.ReduceInt32(t.Context(), 2, 0, v), "step 1 is not committed"},
				{r.Commit(t.Context(), 2), "step 1 is not committed"},
			} {
				if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
					return fmt.Errorf("error %w; want %q", test.err, test.want)
				}
			}
			if v[0] != 1 {
				return errors.New("a wrong call has changed its vector")
			}
			return r.Commit(t.Context(), 1)
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		g.Stop()
	})
}

func TestConfig(t *testing.T) {
	narrow := memlink.NewLimited(4, allreduce.Limits{Message: 4096, Pending: 100_000})[0]
	for _, test := range []struct {
		link allreduce.Link
		c    allreduce.Config
		want []string
	}{
		{narrow, allreduce.Config{Size: 4, ChunkBytes: 4032, Window: 3}, nil},
		{nil, allreduce.Config{Size: 4}, []string{"4 ranks need a link"}},
		{narrow, allreduce.Config{Size: 0}, []string{"size is 0; a ring has 1 to 1024 ranks"}},
		{narrow, allreduce.Config{Size: 1025, Rank: -1, Deadline: time.Millisecond, ChunkBytes: 12, Window: -1}, []string{
			"size is 1025", "rank is -1", "deadline is 1ms; it must be 10ms to 1h0m0s", "chunk bytes is 12", "window is -1",
		}},
		{narrow, allreduce.Config{Size: 4, Rank: 4}, []string{"rank is 4; of 4 ranks it must be 0 to 3"}},
		{narrow, allreduce.Config{Size: 4}, []string{
			"chunks of 524288 bytes need messages of 524352; the link takes 4096",
			"4 ranks with 8 chunks of 524288 bytes under way can put 33558528 bytes at a rank; the link holds 100000",
		}},
		{narrow, allreduce.Config{Size: 4, ChunkBytes: 4032, Window: 4}, []string{
			"can put 131072 bytes at a rank; the link holds 100000",
		}},
	} {
		_, err := allreduce.New(test.link, test.c)
		if (err == nil) != (test.want == nil) {
			t.Errorf("%+v: error %v", test.c, err)
		}
		for _, want := range test.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %v lacks %q", test.c, err, want)
			}
		}
	}
}
