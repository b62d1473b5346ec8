package memlink_test

import (
	"testing"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
)

// Once its buffers are there, a ring allocates nothing for a chunk: a step of 512 chunks, which makes over 1,000
// messages, costs the allocations of its calls.
func TestAllocations(t *testing.T) {
	g := linktest.Start(t, open(t, 2), allreduce.Config{Job: "alloc", Generation: 3, ChunkBytes: 2048})
	vectors := [][]int32{make([]int32, 1<<18), make([]int32, 1<<18)}
	step := uint64(0)
	run := func() {
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			if err := r.ReduceInt32(t.Context(), step, 0, vectors[rank]); err != nil {
				return err
			}
			return r.Commit(t.Context(), step)
		}) {
			if err != nil {
				t.Fatalf("rank %d: %v", rank, err)
			}
		}
		step++
	}
	for range 10 { // until the most buffers were in use at one time
		run()
	}
	if n := testing.AllocsPerRun(10, run); n > 200 {
		t.Errorf("%.0f allocations for a step of 512 chunks and two ranks; want at most 200", n)
	} else {
		t.Logf("%.0f allocations for a step of 512 chunks and two ranks", n)
	}
}
