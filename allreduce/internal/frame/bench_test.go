package frame_test

import (
	"fmt"
	"testing"

	"pupil/allreduce/internal/frame"
)

// BenchmarkChecksum is the CRC-32C of a header and of a chunk.
func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{60, 512 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(i * 31)
			}
			b.SetBytes(int64(n))
			for b.Loop() {
				frame.Checksum(data)
			}
		})
	}
}
