package natslink_test

import (
	"fmt"
	"testing"

	"pupil/allreduce/linktest"
)

// BenchmarkReduceInt32 sums a vector over N ranks of one process through one broker.
func BenchmarkReduceInt32(b *testing.B) {
	for _, size := range []int{2, 4} {
		for _, megabytes := range []int{1, 4, 14} {
			b.Run(fmt.Sprintf("N=%d/%dMB", size, megabytes), func(b *testing.B) {
				linktest.Benchmark(b, open(b, size), megabytes)
			})
		}
	}
}
