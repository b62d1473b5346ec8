package linktest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"pupil/allreduce"
)

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
	few := 6 * (step % 2) // bits fewer, so that sums have 24
	part := func(rank, i int) int32 { return int32(element(rank, step, bucket, i) << 38 >> (38 + few)) }
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
