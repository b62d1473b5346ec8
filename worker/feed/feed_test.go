package feed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pupil/augment"
	"pupil/storage/dataset"
	"pupil/worker/feed"
)

// taken is a copy of what a batch holds.
type taken struct {
	Step, Lane, Skipped int
	Teacher, Student    []float32
	Labels              []int
	Samples             []dataset.Sample
}

func take(b *feed.Batch) taken {
	defer b.Release()
	return taken{
		b.Step, b.Lane, b.Skipped, slices.Clone(b.Teacher), slices.Clone(b.Student), slices.Clone(b.Labels),
		slices.Clone(b.Samples),
	}
}

// run takes all batches of all lanes, each lane in a goroutine of its own. The error is that of Run.
func run(t *testing.T, c feed.Config, lanes []int, first, last int) (map[int][]taken, map[int]error, error) {
	t.Helper()
	f, err := feed.New(c, lanes, first, last)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	batches, failures := make([][]taken, len(lanes)), make([]error, len(lanes))
	var wg sync.WaitGroup
	for i, lane := range lanes {
		wg.Go(func() {
			for {
				b, err := f.Next(ctx, lane)
				if err != nil {
					failures[i] = err
					return
				}
				batches[i] = append(batches[i], take(b))
			}
		})
	}
	wg.Wait()
	runErr := <-ended
	byLane, errs := map[int][]taken{}, map[int]error{}
	for i, lane := range lanes {
		byLane[lane], errs[lane] = batches[i], failures[i]
	}
	return byLane, errs, runErr
}

// serial is what a batch must be: the definition, without goroutines or buffers.
func serial(t *testing.T, c feed.Config, lane, step int) taken {
	t.Helper()
	epoch, samples := c.Order.At(step, lane)
	want := taken{Step: step, Lane: lane}
	for _, number := range samples {
		s, data, err := c.Data.Sample(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		img, err := augment.Decode(data, 1)
		if err != nil {
			t.Fatal(err)
		}
		want.Samples, want.Labels = append(want.Samples, s), append(want.Labels, s.Label)
		key := augment.Key{Seed: c.Seed, Epoch: uint64(epoch), Sample: uint64(number)}
		view := make([]float32, size*size)
		if p := c.Views.Teacher(); p != nil {
			key.View = augment.TeacherView
			p.Apply(view, img, key)
			want.Teacher = append(want.Teacher, view...)
		}
		key.View = augment.StudentView
		c.Views.Student().Apply(view, img, key)
		want.Student = append(want.Student, view...)
	}
	return want
}

func equal(a, b taken) bool {
	return a.Step == b.Step && a.Lane == b.Lane && a.Skipped == b.Skipped && slices.Equal(a.Teacher, b.Teacher) &&
		slices.Equal(a.Student, b.Student) && slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Samples, b.Samples)
}

func TestBatchesAreTheDefinition(t *testing.T) {
	_, d := pack(t, 50, 7)
	for _, x := range []struct {
		workers, prefetch, first int
		lanes                    []int
		teacher                  bool
	}{
		{1, 1, 0, []int{0, 1, 2, 3}, true},
		{4, 3, 0, []int{3, 1}, true},
		{3, 2, 5, []int{0, 2}, false},
		{0, 0, 8, []int{1}, true},
		{2, 20, 0, []int{0, 1, 2, 3}, false},
	} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			const last = 14 // 4 steps an epoch
			c := feed.Config{
				Data: d, Order: order(d, 12, 4, 3), Views: views(t, nil, strong(t)), Seed: 5,
				Workers: x.workers, Prefetch: x.prefetch,
			}
			if x.teacher {
				c.Views = views(t, weak(t), strong(t))
			}
			got, failures, err := run(t, c, x.lanes, x.first, last)
			if err != nil {
				t.Fatal(err)
			}
			for _, lane := range x.lanes {
				if !errors.Is(failures[lane], io.EOF) || len(got[lane]) != last-x.first {
					t.Fatalf("lane %d: %d batches, then %v", lane, len(got[lane]), failures[lane])
				}
				for i, b := range got[lane] {
					if want := serial(t, c, lane, x.first+i); !equal(b, want) {
						t.Fatalf("lane %d: batch %d (step %d) is not what it should be", lane, i, b.Step)
					}
				}
			}
		})
	}
}

// In a bubble, a goroutine that is left when the test ends is an error; Wait returns when all others wait for
// something.
func TestPrefetchIsBoundedAndEndsWithItsContext(t *testing.T) {
	b, d := pack(t, 96, 1)
	for _, prefetch := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			count := &counter{Bucket: b, reads: map[string]int{}}
			c := feed.Config{
				Data: open(t, count), Order: order(d, 8, 2, 1), Views: views(t, nil, strong(t)), Workers: 3, Prefetch: prefetch,
				Ahead: 1,
			}
			f, err := feed.New(c, []int{0, 1}, 0, 12)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error)
			go func() { ended <- f.Run(ctx) }()
			synctest.Wait()
			if n := count.tars(); n != (prefetch+1)*8 {
				t.Errorf("prefetch %d: %d images were read before a batch was taken", prefetch, n)
			}
			held, err := f.Next(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := count.tars(); n != (prefetch+1)*8+4 {
				t.Errorf("prefetch %d: %d images were read after one batch was taken", prefetch, n)
			}
			why := errors.New("enough")
			cancel(why)
			if err := <-ended; !errors.Is(err, why) {
				t.Errorf("Run returned %v", err)
			}
			held.Release()
			for {
				b, err := f.Next(t.Context(), 1)
				if err != nil {
					if !errors.Is(err, why) {
						t.Errorf("Next returned %v", err)
					}
					break
				}
				b.Release()
			}
		})
	}
}

func TestNextWaitsForItsContext(t *testing.T) {
	_, d := pack(t, 8, 8)
	f, err := feed.New(feed.Config{Data: d, Order: order(d, 4, 1, 4), Views: views(t, nil, strong(t))}, []int{0}, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("no more waiting")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := f.Next(ctx, 0); !errors.Is(err, why) {
		t.Errorf("Next without Run returned %v", err)
	}
	if _, err := f.Next(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "lane 3") {
		t.Errorf("Next of a lane that is not there returned %v", err)
	}
	if err := f.Run(ctx); !errors.Is(err, why) {
		t.Errorf("Run returned %v", err)
	}
	if err := f.Run(ctx); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the second Run returned %v", err)
	}
}

func TestBuffersAreRecycled(t *testing.T) {
	_, d := pack(t, 40, 10)
	c := feed.Config{Data: d, Order: order(d, 4, 1, 5), Views: views(t, nil, strong(t)), Prefetch: 2}
	for _, release := range []bool{true, false} {
		f, err := feed.New(c, []int{0}, 0, 50)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- f.Run(t.Context()) }()
		memory := map[*float32]bool{}
		var held []*feed.Batch
		for step := range 50 {
			b, err := f.Next(t.Context(), 0)
			if err != nil || b.Step != step {
				t.Fatal(step, b, err)
			}
			memory[&b.Student[0]] = true
			if release {
				b.Release()
				b.Release() // does nothing
			} else {
				held = append(held, b)
			}
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if release && len(memory) > 4 { // two ahead, one in use, one on its way back
			t.Errorf("%d buffers for 50 batches", len(memory))
		}
		if !release && len(memory) != len(held) {
			t.Errorf("%d buffers for %d batches that are held", len(memory), len(held))
		}
	}
}

func TestNothingToDo(t *testing.T) {
	_, d := pack(t, 8, 8)
	c := feed.Config{Data: d, Order: order(d, 4, 2, 4), Views: views(t, nil, strong(t))}
	for _, lanes := range [][]int{nil, {0, 1}} {
		f, err := feed.New(c, lanes, 3, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(t.Context()); err != nil {
			t.Error(err)
		}
		for _, lane := range lanes {
			if _, err := f.Next(t.Context(), lane); !errors.Is(err, io.EOF) {
				t.Errorf("lane %d: %v", lane, err)
			}
		}
	}
}

func TestNewListsEveryFault(t *testing.T) {
	_, d := pack(t, 8, 8)
	valid := feed.Config{Data: d, Order: order(d, 4, 2, 4), Views: views(t, nil, strong(t))}
	for _, x := range []struct {
		change      func(*feed.Config)
		lanes       []int
		first, last int
		want        []string
	}{
		{
			func(*feed.Config) {},
			[]int{0, 2, -1, 0},
			5, 3,
			[]string{"lane 2", "lane -1", "lane 0 is given twice", "steps 5 to 3"},
		},
		{
			func(c *feed.Config) { c.Prefetch, c.Workers, c.Channels = -1, -2, 2 },
			nil,
			0, 1,
			[]string{"prefetch", "workers", "channels"},
		},
		{func(c *feed.Config) { c.Data, c.Views = nil, nil }, nil, 0, 1, []string{"no dataset", "no views"}},
		{func(c *feed.Config) { c.Order.Batch = 3 }, nil, 0, 1, []string{"batch 3"}},
		{func(c *feed.Config) { c.Order.Count, c.Order.ShardCounts = 7, []int{7} }, nil, 0, 1, []string{"7 images"}},
	} {
		c := valid
		x.change(&c)
		_, err := feed.New(c, x.lanes, x.first, x.last)
		for _, part := range x.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not speak of %q", err, part)
			}
		}
	}
}
