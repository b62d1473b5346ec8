package machine_test

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// Over a slow link, with a window of pieces of four seconds under way that come in bursts, a state costs few bytes more than it has:
// what is late is not asked for again and again.
func TestStateOverASlowLink(t *testing.T) {
	const (
		rate  = 64e3                   // bytes a second
		burst = 300 * time.Millisecond // between what comes together
		limit = 5 * time.Minute
	)
	type message struct {
		at   time.Duration
		data []byte
	}
	state := &frame.Buffer{Bytes: make([]byte, 2<<20)}
	hash := sha256.Sum256(state.Bytes)
	var m [2]*machine.Machine
	var queue [2][]message // to each rank
	var free, now time.Duration
	sent := 0
	for i := range m {
		m[i] = machine.New(machine.Config{
			Job: 1, Generation: 1, Rank: i, Size: 2, Deadline: 2 * time.Minute, ChunkBytes: 8 << 10, Window: 32, EarlyBytes: 1 << 20,
			Pool: &frame.Pool{},
		})
	}
	if err := m[0].Share(0, 7, 1, state, hash, 0); err != nil {
		t.Fatal(err)
	}
	if err := m[1].Share(0, 7, 1, nil, [sha256.Size]byte{}, len(state.Bytes)); err != nil {
		t.Fatal(err)
	}
	for done := false; !done && now < limit; now += time.Millisecond {
		for i := range m {
			for len(queue[i]) > 0 && queue[i][0].at <= now {
				f, err := frame.Decode(queue[i][0].data)
				if err != nil {
					t.Fatal(err)
				}
				queue[i] = queue[i][1:]
				m[i].Receive(now, f)
				f.Release()
			}
			m[i].Tick(now)
			out := m[i].Take()
			for _, s := range out.Sends {
				at := now
				if i == 0 {
					sent += len(s.Frame.Buffer)
					free = max(free, now) + time.Duration(float64(len(s.Frame.Buffer))/rate*float64(time.Second))
					at = (free + burst - 1) / burst * burst
				}
				queue[1-i] = append(queue[1-i], message{at, slices.Clone(s.Frame.Encode())})
				s.Frame.Release()
			}
			done = done || i == 1 && len(out.Completed) > 0
		}
	}
	if got, _ := m[1].Shared(1); sha256.Sum256(got) != hash {
		t.Fatalf("after %s the state is not there: %v", now, m[1].Err())
	}
	if most := len(state.Bytes) * 11 / 10; sent > most {
		t.Errorf("%d bytes were sent in %s, %d questions asked; want %d bytes at most", sent, now, m[1].Stats().Asked, most)
	}
	t.Logf("%d bytes of %d in %s, %d questions", sent, len(state.Bytes), now, m[1].Stats().Asked)
}
