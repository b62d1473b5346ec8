package feed_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pupil/storage/dataset"
	"pupil/storage/diskcache"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
	"pupil/worker/feed"
)

// stalls trains for some epochs on images of a store that sends at a rate, as a share of what training needs, and returns for
// how long each step waited for its input, in steps' times. The images do not fit into memory; what was fetched stays on disk.
func stalls(t *testing.T, epochs int, rate func(steps float64) float64) (waited []float64) {
	t.Helper()
	const count, batch, step, each = 640, 16, time.Second, 8 << 10
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 160})
		if err != nil {
			t.Fatal(err)
		}
		for i := range count {
			data := append(picture(t, i), make([]byte, each)...) // what follows the image is not read
			if err := w.Add(t.Context(), fmt.Sprintf("%04d.png", i), -1, data[:each]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		const needed = batch * each // bytes a step
		slow := &storagetest.Throttled{Bucket: b, Rate: func(since time.Duration) float64 {
			return rate(since.Seconds()/step.Seconds()) * needed / step.Seconds()
		}}
		d := open(t, slow, dataset.CacheBytes(count*each/4), dataset.Block(1),
			dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil)))
		c := feed.Config{Data: d, Order: order(d, batch, 1, 64), Views: views(t, nil, strong(t)), Seed: 5, Workers: 2}
		f, err := feed.New(c, []int{0}, 0, epochs*count/batch)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(t.Context()) }()
		for range epochs * count / batch {
			begin := time.Now()
			got, err := f.Next(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			waited = append(waited, time.Since(begin).Seconds()/step.Seconds())
			time.Sleep(step) // the step itself
			got.Release()
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return waited
}

// TestStalls has a store that is just as fast as training, also with outages, and one of half the rate.
func TestStalls(t *testing.T) {
	sum := func(v []float64) (s float64) {
		for _, w := range v {
			s += w
		}
		return s
	}
	const epoch = 40 // steps
	// The first batch and the indexes must come; after that no step waits, in the first epoch and over its end.
	for name, rate := range map[string]func(float64) float64{
		"steady": func(float64) float64 { return 1.1 },
		"outages": func(at float64) float64 {
			if int(at)%8 < 4 {
				return 2.2
			}
			return 0
		},
	} {
		waited := stalls(t, 2, rate)
		t.Logf("%s: the first steps wait %.2f, all others %.2f steps' times", name, sum(waited[:10]), sum(waited[10:]))
		if got := sum(waited[10:]); got > 0.01 {
			t.Errorf("%s: steps wait %v steps' times for input", name, got)
		}
	}
	// With half of the rate the first epoch takes the time in which its bytes come, and no more; then nothing waits.
	waited := stalls(t, 2, func(float64) float64 { return 0.5 })
	first, later := sum(waited[:epoch+10]), sum(waited[epoch+10:])
	t.Logf("half: the first epoch waits %.1f, the others %.2f steps' times", first, later)
	if first < 0.9*epoch || first > 1.2*epoch || later > 0.01 {
		t.Errorf("half of the rate: the first epoch waits %.1f steps' times, want %d; the others %v", first, epoch, later)
	}
}
