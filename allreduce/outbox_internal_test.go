package allreduce

import (
	"testing"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// What was asked for is not sent again while it waits to be sent for the first time, and is when it does not.
func TestOutboxRepeats(t *testing.T) {
	pool := &frame.Pool{}
	send := func(to int, h frame.Header) machine.Send { return machine.Send{To: to, Frame: pool.New(h, 8)} }
	chunk := frame.Header{Kind: frame.Data, Step: 7, Bucket: 2, Chunk: 3, Contributors: frame.Arc(0, 2, 4)}
	again := chunk
	again.Attempt = 1
	total := again
	total.Contributors = frame.Arc(0, 4, 4)
	other := again
	other.Chunk = 4
	piece := frame.Header{Kind: frame.Part, Step: 7, Bucket: 3, Chunk: 3}
	pieceAgain := piece
	pieceAgain.Attempt = 1
	o := newOutbox()
	o.put([]machine.Send{send(1, chunk), send(1, frame.Header{Kind: frame.Done, Step: 7}), send(1, piece)})
	o.put([]machine.Send{send(1, again), send(1, pieceAgain), send(1, total), send(1, other), send(2, again)})
	want := []frame.Header{chunk, {Kind: frame.Done, Step: 7}, piece, total, other, again}
	o.put([]machine.Send{send(1, again)})
	for i, h := range want {
		if i == 1 { // the first was taken
			o.put([]machine.Send{send(1, again)})
			want = append(want, again)
		}
		s, _ := o.take()
		if s.Frame.Header != h {
			t.Errorf("message %d is %+v, want %+v", i, s.Frame.Header, h)
		}
		s.Frame.Release()
	}
	s, _ := o.take()
	s.Frame.Release()
	if s.Frame.Header != want[len(want)-1] {
		t.Errorf("the last message is %+v", s.Frame.Header)
	}
	o.close()
	if _, ok := o.take(); ok || pool.Stats().Lent != 0 {
		t.Errorf("there is another one, or memory was kept: %+v", pool.Stats())
	}
}
