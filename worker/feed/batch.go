package feed

import (
	"sync"
	"sync/atomic"

	"pupil/augment"
	"pupil/storage/dataset"
)

// Batch is what one lane computes in one step: n = Order.Batch / Order.Lanes images. It is the caller's until Release.
type Batch struct {
	Step, Lane int
	Teacher    []float32        // [n, size, size, channels], the teacher's views; nil when there is no teacher, not made when Known is set
	Known      *Outputs         // what the teacher makes of its views, from Config.TeacherCache; nil: not known
	Student    []float32        // [n, size, size, channels], the student's views of the same images
	Labels     []int            // [n]; -1: the image has none
	Samples    []dataset.Sample // [n]; where the images come from
	Skipped    int              // images that could not be decoded and were replaced by others

	cache    TeacherCache // nil: none
	home     chan *Batch  // where Release puts it
	released atomic.Bool
	pending  sync.WaitGroup // images that are still being made
	results  []result       // [n]
}

// result is how the making of one image ended.
type result struct {
	replaced bool
	err      error
}

func newBatch(lane, n int, views *augment.Views, home chan *Batch) *Batch {
	b := &Batch{
		Lane:    lane,
		Student: make([]float32, n*views.Student().Len()),
		Labels:  make([]int, n),
		Samples: make([]dataset.Sample, n),
		home:    home,
		results: make([]result, n),
	}
	if teacher := views.Teacher(); teacher != nil {
		b.Teacher = make([]float32, n*teacher.Len())
	}
	return b
}

// Release gives the batch's memory back. The batch and its slices must not be used after it. A second call does
// nothing.
func (b *Batch) Release() {
	if b.released.Swap(true) {
		return
	}
	select {
	case b.home <- b:
	default: // enough are waiting; this one is garbage
	}
}

// reset makes a batch that came back ready for another step.
func (b *Batch) reset(step int) {
	b.Step, b.Skipped = step, 0
	b.released.Store(false)
	clear(b.results)
}

// finish sums up the results when all images are made. The error is that of the first image that has one, whatever
// order they were made in.
func (b *Batch) finish() error {
	for _, r := range b.results {
		if r.err != nil {
			return r.err
		}
		if r.replaced {
			b.Skipped++
		}
	}
	return nil
}
