package allreduce

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// MaxState is the size of the largest state that Share hands on, in bytes.
const MaxState = machine.MaxState

// sharing is what a call of Share has beside other calls.
type sharing struct {
	most  int
	hash  [sha256.Size]byte // of the state that this rank has, then of the one that came
	state []byte            // that came; set before the call's end
}

// Share hands a state to the ranks that lack it, such as those that join: every rank calls it with the same step and
// bucket, those that have the state with it, the others with nil and the most bytes that they accept. It returns the
// state, whose SHA-256 it has checked. The state travels along the ring, in chunks, over each link once at most: N-1
// ranks get it in little more time than one. Lost chunks are asked for again.
//
// A rank that has the state returns at once. The state serves others until the step's Commit returns, and must not
// change before; a caller may read it. Commit returns an error unless all ranks then have one and the same state.
// Waiting in Commit takes as long as the state comes, which may be more than Config.Deadline; waiting for a sum does
// not, so that Commit should follow Share, and sums come in the steps after. If no rank has the state, the error is
// ErrDeadline.
func (r *Ring) Share(ctx context.Context, step uint64, bucket uint32, state []byte, most int) ([]byte, error) {
	if int64(len(state)) > MaxState || state == nil && (most < 0 || int64(most) > MaxState) {
		return nil, fmt.Errorf("step %d, state %d: %d bytes, at most %d are accepted; a state has 0 to %d bytes",
			step, bucket, len(state), most, int64(MaxState))
	}
	s := &sharing{most: most}
	var memory *frame.Buffer
	if state != nil {
		s.hash, memory = sha256.Sum256(state), &frame.Buffer{Bytes: state}
	}
	if r.solo != nil {
		if state == nil {
			return nil, fmt.Errorf("step %d, state %d: a ring of one has no other rank that could have it", step, bucket)
		}
		return state, r.alone(ctx, func(m *machine.Machine) error { return m.Share(0, step, bucket, memory, s.hash, most) })
	}
	c := newCall(machine.Completion{Step: step, Bucket: bucket}, frame.Byte, memory)
	c.sharing = s
	if err := r.do(ctx, c); err != nil {
		return nil, err
	}
	if state != nil {
		return state, nil
	}
	if got := sha256.Sum256(s.state); got != s.hash {
		r.fail(fmt.Errorf("%w: step %d, state %d: %d bytes came with the hash %x, and have the hash %x",
			ErrMismatch, step, bucket, len(s.state), s.hash[:4], got[:4]))
		return nil, r.cause
	}
	return s.state, nil
}

// errNoState tells of a completed Share without a state, because the ring has failed just then.
var errNoState = errors.New("the ring has failed before the state could be handed over")

// take gets the state out of the machine.
func (s *sharing) take(m *machine.Machine, bucket uint32) error {
	s.state, s.hash = m.Shared(bucket)
	if s.state == nil {
		return errNoState
	}
	return nil
}
