package train

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"pupil/storage/safetensors"
)

// Feedback is the error feedback of sums of 16 bits: by lane, what its gradients lost when they were rounded, which it
// adds to the next ones. It is the only part of the state that belongs to a lane: a worker knows it for the lanes that
// it has carried, and for all after a restore or State.GatherFeedback. A lane must not be carried without it.
//
// What a lane makes of a step becomes part of the state when the step is committed. So a step that was not can be done
// again, by the same worker or another.
type Feedback struct {
	size  int // of a lane's gradient
	lanes []laneFeedback
}

type laneFeedback struct {
	values []float32 // as of the state's step; nil: not known here
	next   []float32 // of the step under way; its memory serves again
	given  bool      // next is whole
}

// newFeedback is the one before the first step: zeros, which every worker knows.
func newFeedback(size, lanes int) *Feedback {
	f := &Feedback{size: size, lanes: make([]laneFeedback, lanes)}
	for i := range f.lanes {
		f.lanes[i].values = make([]float32, size)
	}
	return f
}

// Missing lists those of some lanes whose error feedback is not known here.
func (f *Feedback) Missing(lanes []int) (missing []int) {
	if f == nil {
		return nil
	}
	for _, n := range lanes {
		if f.lanes[n].values == nil {
			missing = append(missing, n)
		}
	}
	return missing
}

// take returns a lane's feedback, and the place of the next.
func (f *Feedback) take(lane int) (before, after []float32) {
	l := &f.lanes[lane]
	l.given = false
	if l.next == nil {
		l.next = make([]float32, f.size)
	}
	return l.values, l.next
}

// give says that a lane has filled what take returned.
func (f *Feedback) give(lane int) { f.lanes[lane].given = true }

// commit makes the step's feedback that of the state. That of lanes which are not known in the new step is dropped.
func (f *Feedback) commit() {
	if f == nil {
		return
	}
	for i := range f.lanes {
		l := &f.lanes[i]
		if !l.given {
			*l = laneFeedback{}
			continue
		}
		l.values, l.next, l.given = l.next, l.values, false
	}
}

// LostFeedbackError says that no worker has the error feedback of some lanes, because those that did have died. The job
// goes on from a checkpoint, which has that of all lanes. Test with errors.As.
type LostFeedbackError struct{ Lanes []int }

// Error names the lanes.
func (e *LostFeedbackError) Error() string {
	return fmt.Sprintf("the error feedback of lanes %v was lost with the workers that carried them; go on from a checkpoint",
		e.Lanes)
}

// GatherFeedback gives every worker the error feedback of all lanes, from the workers that know it, so that any can
// carry any lane. Every worker of a ring calls it with states of the same step, in a ring's step in which nothing else
// is summed and no step is under way; it comes before the ring's Commit. It does nothing in jobs without feedback. All
// workers get LostFeedbackError if a lane's is nowhere.
func (s *State) GatherFeedback(ctx context.Context, r Reducer, ringStep uint64) error {
	if s.Feedback == nil {
		return nil
	}
	return s.Feedback.gather(ctx, r, ringStep, func(l *laneFeedback) []float32 { return l.values },
		func(l *laneFeedback, v []float32) { l.values = v })
}

// gatherNext is GatherFeedback for the feedback that the step under way leaves.
func (f *Feedback) gatherNext(ctx context.Context, r Reducer, step uint64) error {
	if f == nil {
		return nil
	}
	return f.gather(ctx, r, step, func(l *laneFeedback) []float32 {
		if !l.given {
			return nil
		}
		return l.next
	}, func(l *laneFeedback, v []float32) { l.next, l.given = v, true })
}

// gather hands the feedback that get returns to the workers where it is nil, one lane after the other.
func (f *Feedback) gather(
	ctx context.Context, r Reducer, step uint64, get func(*laneFeedback) []float32, put func(*laneFeedback, []float32),
) error {
	known := make([]int64, 1+len(f.lanes)) // the workers, and by lane those that know it
	known[0] = 1
	for i := range f.lanes {
		if get(&f.lanes[i]) != nil {
			known[1+i] = 1
		}
	}
	if err := r.ReduceInt64(ctx, step, bucketFeedback, known); err != nil {
		return fmt.Errorf("all-reduce of who has the lanes' error feedback: %w", err)
	}
	lost := &LostFeedbackError{}
	for i, n := range known[1:] {
		if n == 0 {
			lost.Lanes = append(lost.Lanes, i)
		}
	}
	if len(lost.Lanes) > 0 {
		return lost
	}
	for i, n := range known[1:] {
		if n == known[0] {
			continue
		}
		l := &f.lanes[i]
		var mine []byte
		if v := get(l); v != nil {
			mine = encodeFeedback(v)
		}
		state, err := r.Share(ctx, step, bucketFeedback+1+uint32(i), mine, 4*f.size)
		if err != nil {
			return fmt.Errorf("error feedback of lane %d: %w", i, err)
		}
		if mine == nil {
			v, err := f.decode(state)
			if err != nil {
				return fmt.Errorf("error feedback of lane %d: %w", i, err)
			}
			put(l, v)
		}
	}
	return nil
}

func encodeFeedback(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func (f *Feedback) decode(b []byte) ([]float32, error) {
	if len(b) != 4*f.size {
		return nil, fmt.Errorf("%d bytes came, it has %d", len(b), 4*f.size)
	}
	v := make([]float32, f.size)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}

// export is the part of a checkpoint. The error tells of lanes that are not known here.
func (f *Feedback) export() (*safetensors.File, error) {
	part := &safetensors.File{}
	for i, l := range f.lanes {
		if l.values == nil {
			return nil, fmt.Errorf("the error feedback of lane %d is on another worker", i)
		}
		part.Tensors = append(part.Tensors, safetensors.FromFloat32(feedbackName(i), []int{f.size}, l.values))
	}
	return part, nil
}

// restore takes a checkpoint's part. Without one, as in what workers hand to each other, no lane's is known.
func (f *Feedback) restore(part *safetensors.File) error {
	for i := range f.lanes {
		f.lanes[i] = laneFeedback{}
		if part == nil {
			continue
		}
		v := make([]float32, f.size)
		if err := copyTensor(v, part, feedbackName(i)); err != nil {
			return err
		}
		f.lanes[i].values = v
	}
	return nil
}

func feedbackName(lane int) string { return "lane." + strconv.Itoa(lane) }
