package train_test

import (
	"math"
	"sync"
	"testing"

	"pupil/worker/train"
)

// A flipped bit in a worker's weights, or in its optimiser's moments, is found before anything that was computed with it
// is committed: the worker is named and takes the others' state, or all go back when there are only two. The same bits.
func TestFlippedBit(t *testing.T) {
	w := elasticWorld(t)
	want := w.quiet(t)
	for name, c := range map[string]struct {
		workers int
		flip    func(s *train.State)
		named   int
	}{
		"weight":    {3, func(s *train.State) { flip(s.Model.Params, 17) }, 1},
		"statistic": {3, func(s *train.State) { flip(s.Model.Buffers, 3) }, 1},
		"moment":    {3, func(s *train.State) { flip(s.Optimizer.Moments()[0].Values, 5) }, 1},
		"of two":    {2, func(s *train.State) { flip(s.Model.Params, 17) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, w, c.workers, 1)
			var once sync.Once
			s.flip = func(m *member, step int) {
				if m.id == 1 && step == 2 {
					once.Do(func() { c.flip(m.state) })
				}
			}
			for s.generation() != train.Finished {
				if s.number > 5 {
					t.Fatal("the run does not end")
				}
			}
			if len(s.named) != c.named || s.named[c.named-1] != 1 || s.number != 2 {
				t.Errorf("workers %v were named, in %d generations", s.named, s.number)
			}
			s.ended(want)
		})
	}
}

func flip(v []float32, i int) { v[i] = math.Float32frombits(math.Float32bits(v[i]) ^ 1<<20) }
