package feed_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"pupil/augment"
	"pupil/worker/feed"
)

// memory is a teacher cache.
type memory struct {
	mu   sync.Mutex
	kept map[[2]int]feed.Outputs
}

func (m *memory) Load(step, lane int) (feed.Outputs, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.kept[[2]int{step, lane}]
	return o, ok
}

func (m *memory) Store(_ context.Context, step, lane int, o feed.Outputs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[[2]int{step, lane}] = feed.Outputs{Pooled: slices.Clone(o.Pooled)}
}

// TestKnownOutputs: a batch whose outputs are known has them, in place of the teacher's views, and all else is as it is
// without; with each policy, since the student's view may be cut from the teacher's.
func TestKnownOutputs(t *testing.T) {
	_, d := pack(t, 50, 7)
	for _, policy := range augment.Policies() {
		plain := pipeline(t, augment.Config{Flip: 0.5, Rotate: 5, Occlude: augment.Occlude{
			Probability: 1, Scale: [2]float64{0.1, 0.2}, Ratio: [2]float64{0.5, 2},
		}})
		v, err := augment.NewViews(plain, plain, policy)
		if err != nil {
			t.Fatal(err)
		}
		c := feed.Config{Data: d, Order: order(d, 12, 4, 3), Views: v, Seed: 5}
		want := batches(t, c, func(b *feed.Batch) {
			if b.Known != nil {
				t.Errorf("%s: step %d: outputs are known without a cache", policy, b.Step)
			}
			b.Keep(t.Context(), feed.Outputs{}) // does nothing
		})
		cache := &memory{kept: map[[2]int]feed.Outputs{}}
		c.TeacherCache = cache
		batches(t, c, func(b *feed.Batch) {
			if b.Known != nil {
				t.Errorf("%s: step %d: outputs are known to an empty cache", policy, b.Step)
			}
			if b.Step != 3 { // one is not kept
				b.Keep(t.Context(), feed.Outputs{Pooled: []float32{float32(10*b.Step + b.Lane)}})
			}
		})
		got := batches(t, c, func(b *feed.Batch) {
			switch {
			case b.Step == 3:
				if b.Known != nil {
					t.Errorf("%s: the outputs of step 3 came from nowhere", policy)
				}
				return
			case b.Known == nil || !slices.Equal(b.Known.Pooled, []float32{float32(10*b.Step + b.Lane)}):
				t.Errorf("%s: step %d, lane %d: known is %v", policy, b.Step, b.Lane, b.Known)
			}
		})
		for i := range want {
			if want[i].Step != 3 {
				want[i].Teacher, got[i].Teacher = nil, nil
			}
			if !equal(got[i], want[i]) {
				t.Errorf("%s: batch %d is another one", policy, i)
			}
		}
	}
}

// batches takes six steps of a lane.
func batches(t *testing.T, c feed.Config, look func(b *feed.Batch)) (all []taken) {
	t.Helper()
	const lane, steps = 2, 6
	f, err := feed.New(c, []int{lane}, 0, steps)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- f.Run(t.Context()) }()
	for range steps {
		b, err := f.Next(t.Context(), lane)
		if err != nil {
			t.Fatal(err)
		}
		look(b)
		all = append(all, take(b))
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return all
}
