package machine_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// piece is what rank 0 of 3 sends of a state of 40 bytes in pieces of 32.
func piece(i int) frame.Frame {
	state := []byte("0123456789012345678901234567890123456789")
	hash := sha256.Sum256(state)
	payload := append(hash[:], state[32*i:min(32*i+32, 40)]...)
	f := frame.New(frame.Header{
		Kind: frame.Part, DType: frame.Byte, Size: 3, Sender: 0, Job: 1, Generation: 5, Step: 7, Bucket: 4, Chunk: uint32(i),
		Total: 40, Count: uint32(len(payload)),
	}, len(payload))
	copy(f.Payload(), payload)
	return f
}

// Whole pieces that cannot be never get into a state.
func TestForgedPieces(t *testing.T) {
	for _, test := range []struct {
		name   string
		number int
		change func(*frame.Frame)
		want   string // of the error; empty: the message is dropped
	}{
		{"right", 1, func(*frame.Frame) {}, ""},
		{"of the generation before", 1, func(f *frame.Frame) { f.Generation-- }, ""},
		{"of a state that was not begun", 1, func(f *frame.Frame) { f.Bucket = 9 }, ""},
		{"once more", 0, func(*frame.Frame) {}, ""},
		{"of the rank behind", 1, func(f *frame.Frame) { f.Sender = 2 }, "though this rank asks another"},
		{"of a sum", 1, func(f *frame.Frame) { f.Bucket = 0 }, "hands on state 0, which this rank sums"},
		{"with another hash", 1, func(f *frame.Frame) { f.Payload()[3]++ }, "this rank has one of 40 bytes with the hash"},
		{"of another length", 1, func(f *frame.Frame) { f.Total++ }, "of 41 bytes with the hash"},
		{"without a hash", 1, func(f *frame.Frame) {
			f.Count, f.Buffer = 31, f.Buffer[:frame.HeaderSize+31]
		}, "in 31 bytes, fewer than a hash's"},
		{"beyond the state", 1, func(f *frame.Frame) { f.Chunk = 2 }, "cuts state 4 into other pieces"},
		{"cut", 1, func(f *frame.Frame) {
			f.Count, f.Buffer = 39, f.Buffer[:frame.HeaderSize+39]
		}, "cuts state 4 into other pieces"},
		{"a sum of the state's number", 1, func(f *frame.Frame) {
			f.Kind, f.DType, f.Total, f.Count = frame.Data, frame.Int64, 5, 5
		}, "sums bucket 4, which is a state here"},
		{"a NEED beyond the state", 0, func(f *frame.Frame) {
			f.Kind, f.DType, f.Sender, f.Count, f.Buffer = frame.Need, 0, 2, 1, f.Buffer[:frame.HeaderSize+4]
			binary.LittleEndian.PutUint32(f.Payload(), 2)
		}, "rank 2 asks for piece 2 of state 4, which has 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := three(t)
			if err := m.Share(1, 7, 4, nil, [32]byte{}, 40); err != nil {
				t.Fatal(err)
			}
			hand(t, m, piece(0))
			f := piece(test.number)
			test.change(&f)
			hand(t, m, f)
			if test.want == "" {
				if m.Err() != nil {
					t.Error(m.Err())
				}
				return
			}
			if !errors.Is(m.Err(), machine.ErrMismatch) || !strings.Contains(m.Err().Error(), test.want) {
				t.Errorf("error %v; want %q", m.Err(), test.want)
			}
			if m.Held() != 0 {
				t.Errorf("%d bytes are held", m.Held())
			}
		})
	}
}

func hand(t *testing.T, m *machine.Machine, f frame.Frame) {
	t.Helper()
	f.Seal()
	d, err := frame.Decode(f.Encode())
	if err != nil {
		t.Fatal(err)
	}
	m.Receive(2, d)
}

// ALIVE is progress when it tells of more pieces than before, and only then: who repeats it is given up.
func TestAlive(t *testing.T) {
	for _, test := range []struct {
		pieces []uint32 // told every 600 ms, of a deadline of 1 s
		fails  bool
	}{{[]uint32{1, 2, 3, 4}, false}, {[]uint32{1, 1, 1, 1}, true}, {[]uint32{4, 3, 2, 1}, true}} {
		m := machine.New(machine.Config{
			Job: 1, Generation: 5, Rank: 1, Size: 3, Deadline: time.Second, ChunkBytes: 8, Window: 1, EarlyBytes: 1000,
		})
		if err := m.Commit(0, 7); err != nil {
			t.Fatal(err)
		}
		now := time.Duration(0)
		for _, n := range test.pieces {
			now += 600 * time.Millisecond
			f := frame.New(frame.Header{
				Kind: frame.Alive, Size: 3, Sender: 2, Job: 1, Generation: 5, Step: 7, Total: n,
			}, 0)
			f.Seal()
			m.Receive(now, f)
			m.Tick(now)
		}
		if failed := errors.Is(m.Err(), machine.ErrDeadline); failed != test.fails {
			t.Errorf("pieces %v: error %v", test.pieces, m.Err())
		}
	}
}
