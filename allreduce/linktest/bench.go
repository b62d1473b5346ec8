package linktest

import (
	"syscall"
	"testing"
	"time"

	"pupil/allreduce"
)

// Benchmark sums a vector of int32 over all links, with a commit after each sum. Bytes are those of the vector; cpu-ms/op is
// the process's time on processors.
func Benchmark(b *testing.B, links []allreduce.Link, megabytes int) {
	g := Start(b, links, allreduce.Config{Job: "bench", Generation: 3})
	vectors := make([][]int32, len(links))
	for rank := range vectors {
		vectors[rank] = make([]int32, megabytes<<18)
	}
	b.SetBytes(int64(megabytes) << 20)
	b.ReportAllocs()
	step, before := uint64(0), processorTime()
	for b.Loop() {
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			if err := r.ReduceInt32(b.Context(), step, 0, vectors[rank]); err != nil {
				return err
			}
			return r.Commit(b.Context(), step)
		}) {
			if err != nil {
				b.Fatalf("rank %d: %v", rank, err)
			}
		}
		step++
	}
	b.ReportMetric(float64((processorTime()-before).Microseconds())/1000/float64(step), "cpu-ms/op")
	b.ReportMetric(float64(g.Rings[0].Stats().Resent), "resent")
}

// processorTime is how long this process has run on processors, in the program and in the system; 0 where that is not known.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
