package machine_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// three returns rank 1 of 3, which has started bucket 0 of step 7 with four int32 of 1, in chunks of two: it has sent
// chunk 1, which is its own, and waits for chunk 0 of rank 0 and the total of chunk 1.
func three(t *testing.T) *machine.Machine {
	t.Helper()
	m := machine.New(machine.Config{
		Job: 1, Generation: 5, Rank: 1, Size: 3, Deadline: time.Second, ChunkBytes: 8, Window: 1, EarlyBytes: 1000,
	})
	data := make([]byte, 16)
	frame.Put(data, []int32{1, 1, 1, 1})
	if err := m.Start(0, 7, 0, frame.Int32, &frame.Buffer{Bytes: data}); err != nil {
		t.Fatal(err)
	}
	m.Take()
	return m
}

// chunk0 is what rank 0 sends to rank 1.
func chunk0() frame.Frame {
	f := frame.New(frame.Header{
		Kind: frame.Data, DType: frame.Int32, Size: 3, Sender: 0, Job: 1, Generation: 5, Step: 7,
		Contributors: frame.Arc(0, 1, 3), Total: 4, Count: 2,
	}, 8)
	return f
}

// Whole messages that cannot be, or are of another ring, never get into a sum.
func TestForged(t *testing.T) {
	tests := []struct {
		name   string
		change func(*frame.Frame)
		want   string // of the error; empty: the message is dropped
	}{
		{"of the generation before", func(f *frame.Frame) { f.Generation-- }, ""},
		{"of the generation after", func(f *frame.Frame) { f.Generation++ }, ""},
		{"of another job", func(f *frame.Frame) { f.Job++ }, ""},
		{"of a step to come", func(f *frame.Frame) { f.Step++ }, ""},
		{"of a bucket to come", func(f *frame.Frame) { f.Bucket++ }, ""},
		{"of an old step", func(f *frame.Frame) { f.Step-- }, "rank 0 is at step 6, this rank at step 7"},
		{"of a larger ring", func(f *frame.Frame) { f.Size++ }, "rank 0 believes in 4 ranks, this rank in 3"},
		{"of this rank", func(f *frame.Frame) { f.Sender = 1 }, "two workers have rank 1"},
		{"of the rank behind", func(f *frame.Frame) { f.Sender = 2 }, "rank 2 sent chunk 0"},
		{"with nobody's input", func(f *frame.Frame) { f.Contributors = 0 }, "other ranks than can be (0 ranks, digest 000000000000)"},
		{"with my input", func(f *frame.Frame) { f.Contributors = frame.Arc(0, 2, 3) }, "other ranks than can be (2 ranks"},
		{"with the input of a later rank", func(f *frame.Frame) { f.Contributors = frame.Arc(2, 1, 3) }, "other ranks than can be (1 ranks"},
		{"with an input twice", func(f *frame.Frame) { f.Contributors = f.Contributors.Add(0) }, "other ranks than can be (2 ranks"},
		{"in another order", func(f *frame.Frame) { f.Contributors = frame.Arc(2, 3, 3) }, "other ranks than can be (3 ranks"},
		{"with the input of a rank that is not", func(f *frame.Frame) { f.Contributors = frame.Arc(3, 1, 4) }, "other ranks than can be (1 ranks"},
		{"with all inputs, without mine", func(f *frame.Frame) { f.Contributors = frame.Arc(0, 3, 3) }, "other ranks than can be (3 ranks"},
		{"my own chunk, partial", func(f *frame.Frame) {
			f.Chunk, f.Contributors = 1, frame.Arc(1, 2, 3)
		}, "rank 0 sent chunk 1"},
		{"beyond the vector", func(f *frame.Frame) { f.Chunk = 3 }, "other chunks"},
		{"of another length", func(f *frame.Frame) { f.Total = 5 }, "rank 0 sums 5 elements of int32, this rank 4 of int32"},
		{"of 24 bits, one too few", func(f *frame.Frame) {
			f.DType, f.Count, f.Buffer = frame.Int24, 1, f.Buffer[:frame.HeaderSize+3]
		}, "other chunks"},
		{"of another type", func(f *frame.Frame) { f.DType, f.Count = frame.Int64, 1 }, "4 elements of int64"},
		{"of another chunk size", func(f *frame.Frame) {
			f.Count, f.Buffer = 1, f.Buffer[:frame.HeaderSize+4]
		}, "other chunks"},
		{"a NEED beyond the vector", func(f *frame.Frame) {
			f.Kind, f.Sender = frame.Need, 2
			binary.LittleEndian.PutUint32(f.Payload(), 2)
		}, "rank 2 asks for chunk 2 of bucket 0, which has 2"},
		{"a NEED of the rank before", func(f *frame.Frame) { f.Kind = frame.Need }, ""},
		{"a NEED of an unknown bucket", func(f *frame.Frame) { f.Kind, f.Bucket = frame.Need, 9 }, ""},
		{"a DONE that is short", func(f *frame.Frame) { f.Kind, f.Count = frame.Done, 8 }, "step 7 is done in 8 bytes"},
		{"a QUERY of an open step", func(f *frame.Frame) {
			f.Kind, f.Count, f.Buffer = frame.Query, 0, f.Buffer[:frame.HeaderSize]
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := three(t)
			f := chunk0()
			test.change(&f)
			f.Seal()
			d, err := frame.Decode(f.Encode())
			if err != nil {
				t.Fatal(err)
			}
			m.Receive(1, d)
			if test.want == "" {
				if out := m.Take(); m.Err() != nil || len(out.Sends) != 0 {
					t.Errorf("error %v, %d messages", m.Err(), len(out.Sends))
				}
				return
			}
			if !errors.Is(m.Err(), machine.ErrMismatch) || !strings.Contains(m.Err().Error(), test.want) {
				t.Errorf("error %v; want %q", m.Err(), test.want)
			}
			if out := m.Take(); len(out.Sends) != 2 || out.Sends[0].Frame.Kind != frame.Abort || m.Held() != 0 {
				t.Errorf("%d messages, %d bytes held; want two ABORT", len(out.Sends), m.Held())
			}
		})
	}
	m := three(t)
	f := chunk0()
	f.Seal()
	m.Receive(1, f)
	if out := m.Take(); m.Err() != nil || len(out.Sends) != 1 || out.Sends[0].To != 2 {
		t.Errorf("the right message: error %v, %d messages", m.Err(), len(out.Sends))
	}
}

// A sum of 24 bits is none of int64, nor one for a rank that does not know it.
func TestForgedNarrow(t *testing.T) {
	for _, test := range []struct {
		dtype frame.DType
		wide  bool
		want  string
	}{
		{frame.Int64, false, "rank 0 sums 4 elements of int24, this rank 4 of int64"},
		{frame.Int16, false, "this rank 4 of int16"},
		{frame.Int32, true, "rank 0 sums 4 elements of int24, this rank 4 of int32"},
		{frame.Int32, false, ""},
	} {
		m := machine.New(machine.Config{
			Job: 1, Generation: 5, Rank: 1, Size: 3, Deadline: time.Second, ChunkBytes: 4 * test.dtype.Size(), Window: 1, Wide: test.wide,
		})
		if err := m.Start(0, 7, 0, test.dtype, &frame.Buffer{Bytes: make([]byte, 4*test.dtype.Size())}); err != nil {
			t.Fatal(err)
		}
		f := frame.New(chunk0().Header, 12)
		f.DType, f.Count = frame.Int24, 4
		f.Seal()
		m.Receive(1, f)
		switch err := m.Err(); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.dtype, err)
		case test.want != "" && (!errors.Is(err, machine.ErrMismatch) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v; want %q", test.dtype, err, test.want)
		}
	}
}

// Two digests from one rank cannot be.
func TestTwoDigests(t *testing.T) {
	m := three(t)
	for i := range 2 {
		f := frame.New(frame.Header{Kind: frame.Done, Size: 3, Job: 1, Generation: 5, Step: 7, Count: 33}, 33)
		f.Payload()[0] = byte(i)
		f.Seal()
		m.Receive(1, f)
	}
	if !errors.Is(m.Err(), machine.ErrMismatch) || !strings.Contains(m.Err().Error(), "rank 0 has two digests of step 7") {
		t.Errorf("error %v", m.Err())
	}
}

// A reason of any length and bytes arrives as text that fits a message.
func TestLongReason(t *testing.T) {
	m := three(t)
	m.Fail(errors.New(strings.Repeat("é", 1000)))
	for _, s := range m.Take().Sends {
		if n := len(s.Frame.Payload()); n > machine.MaxControl || n < machine.MaxControl-4 {
			t.Errorf("%d bytes", n)
		}
		d, err := frame.Decode(s.Frame.Encode())
		if err != nil {
			t.Fatal(err)
		}
		other := machine.New(machine.Config{
			Job: 1, Generation: 5, Rank: s.To, Size: 3, Deadline: time.Second, ChunkBytes: 8, Window: 1,
		})
		other.Receive(0, d)
		if !errors.Is(other.Err(), machine.ErrAborted) || strings.Contains(other.Err().Error(), `\x`) {
			t.Errorf("error %.200v", other.Err())
		}
	}
	if err := m.Start(2, 8, 0, frame.Int32, nil); !errors.Is(err, m.Err()) {
		t.Errorf("a call after the end: %v", err)
	}
}
