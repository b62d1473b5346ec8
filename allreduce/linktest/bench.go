package linktest

import (
	"testing"

	"pupil/allreduce"
)

// Benchmark sums a vector of int32 over all links, with a commit after each sum. Bytes are those of the vector.
func Benchmark(b *testing.B, links []allreduce.Link, megabytes int) {
	g := Start(b, links, allreduce.Config{Job: "bench", Generation: 3})
	vectors := make([][]int32, len(links))
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
}
