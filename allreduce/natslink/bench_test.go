package natslink_test

import (
	"fmt"
	"testing"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
)

// BenchmarkReduceInt32 sums a vector over N ranks of one process through one broker, with a commit after each sum.
// Bytes are those of the vector.
func BenchmarkReduceInt32(b *testing.B) {
	for _, size := range []int{2, 4} {
		for _, megabytes := range []int{1, 4} {
			b.Run(fmt.Sprintf("N=%d/%dMB", size, megabytes), func(b *testing.B) {
				g := linktest.Start(b, open(b, size), allreduce.Config{Job: "bench", Generation: 3})
				vectors := make([][]int32, size)
				for rank := range vectors {
					vectors[rank] = make([]int32, megabytes<<18)
				}
				b.SetBytes(int64(megabytes) << 20)
				b.ReportAllocs()
				step := uint64(0)
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
				b.ReportMetric(float64(g.Rings[0].Stats().Resent), "resent")
			})
		}
	}
}
