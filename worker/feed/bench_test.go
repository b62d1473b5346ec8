package feed_test

import (
	"fmt"
	"runtime"
	"testing"

	"pupil/worker/feed"
)

// One lane's batches of 64 grey PNGs of 8 x 8 with both views: little work an image, so that the feed itself shows.
func BenchmarkNext(b *testing.B) {
	_, d := pack(b, 512, 128)
	for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
		b.Run(fmt.Sprintf("8x8x1-batch64-workers%d", workers), func(b *testing.B) {
			f, err := feed.New(feed.Config{
				Data: d, Order: order(d, 64, 1, 16), Views: views(b, weak(b), strong(b)), Workers: workers,
			}, []int{0}, 0, 1<<30)
			if err != nil {
				b.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- f.Run(b.Context()) }()
			b.SetBytes(2 * 64 * size * size * 4)
			b.ReportAllocs()
			for b.Loop() {
				batch, err := f.Next(b.Context(), 0)
				if err != nil {
					b.Fatal(err)
				}
				batch.Release()
			}
			b.Cleanup(func() { <-ended }) // b's context has ended then
		})
	}
}
