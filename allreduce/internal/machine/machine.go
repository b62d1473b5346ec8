package machine

import (
	"errors"
	"fmt"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/meter"
)

// Config is what a Machine must know. The caller has checked it: Size 1 to frame.MaxRanks, Rank below Size, ChunkBytes a positive
// multiple of 8, Window at least 1, Deadline positive.
type Config struct {
	Job        uint32 // CRC-32C of the job's name
	Generation uint64
	Rank, Size int
	Deadline   time.Duration
	ChunkBytes int         // of a payload, at most
	Window     int         // own chunks that circulate at a time; every bucket may always have one
	EarlyBytes int         // messages of a step or bucket not yet started here are kept up to this sum
	Wide       bool        // send no sums in 24 bits, and take none, as builds that do not know them
	Pool       *frame.Pool // of the messages that the machine makes; nil: allocated
}

// Errors of a failed machine.
var (
	ErrDeadline = errors.New("no progress within the deadline")
	ErrMismatch = errors.New("the ranks do not do the same")
	ErrOverflow = errors.New("a sum does not fit its type")
	ErrAborted  = errors.New("the ring was aborted")
)

// Send is a message for a rank. Who takes it holds its frame, and must release it.
type Send struct {
	To    int
	Frame frame.Frame
}

// Completion tells that a call has ended well.
type Completion struct {
	Step   uint64
	Bucket uint32
	Commit bool // Commit of Step; else Start of Step and Bucket
}

// Output is what came out of a machine since the last Take. It is valid until the next one.
type Output struct {
	Sends     []Send
	Completed []Completion
}

// Stats counts what a machine has seen and done.
type Stats struct {
	Sent, Received int64 // messages
	SentBytes      int64 // with headers
	ReceivedBytes  int64
	Duplicates     int64 // data that was already there
	Stale          int64 // of another job or generation, or of a step that is over
	Early          int64 // of a step or bucket not yet started here: kept
	Dropped        int64 // the same, but there was no room
	Asked          int64 // NEED and QUERY sent
	Resent         int64 // chunks sent again because a NEED asked for them
}

// Machine is one rank's side of a ring in one generation.
type Machine struct {
	c        Config
	before   []frame.Trail // see trails
	everyone []frame.Trail
	now      time.Duration
	progress time.Duration // of the last sign of progress in any bucket
	patience int           // how often the first wait is doubled; see learn
	answers  int           // that a question for chunks wants, at first; see learn
	err      error
	out      Output
	taken    Output // what Take returned last; its memory serves again
	stats    Stats

	open        bool   // a step is open: Start or Commit was called for it
	step        uint64 // the open one
	buckets     map[uint32]*bucket
	live        []*bucket // those not complete, in the order of their start
	circulating int       // own chunks under way
	pieces      uint32    // of states that came in the open step
	held        int       // bytes of the buckets' data and kept frames
	spare       []*bucket // of committed steps, to be used again
	commit      *commit   // nil: Commit was not called for the open step
	done        []peerDone
	narrow      narrow

	committed bool   // some step is committed
	last      uint64 // the newest
	digest    digest // of step last

	early       []frame.Frame // for steps and buckets to come, in the order of arrival
	earlyBytes  int
	earlyChunks int  // those of early that are DATA
	overflowed  bool // an early message was dropped
}

// New returns a machine at its beginning.
func New(c Config) *Machine {
	m := &Machine{c: c, buckets: map[uint32]*bucket{}, done: make([]peerDone, c.Size), narrow: newNarrow(c), answers: 1}
	m.before, m.everyone = trails(c)
	return m
}

// Err is why the machine has failed, or nil.
func (m *Machine) Err() error { return m.err }

// Stats returns the counters.
func (m *Machine) Stats() Stats { return m.stats }

// State is what the machine waits for.
func (m *Machine) State() meter.State {
	return meter.State{Chunks: len(m.live) > 0, Done: m.commit != nil, Ahead: m.earlyChunks > 0}
}

// Held is the number of bytes of vectors and messages that the machine keeps.
func (m *Machine) Held() int { return m.held + m.earlyBytes }

// Take returns the output since the last Take.
func (m *Machine) Take() Output {
	clear(m.taken.Sends)
	m.out, m.taken = Output{Sends: m.taken.Sends[:0], Completed: m.taken.Completed[:0]}, m.out
	return m.taken
}

// Next is when Tick must be called at the latest. ok is false when nothing waits.
func (m *Machine) Next() (at time.Duration, ok bool) {
	at = -1
	if m.err != nil {
		return 0, false
	}
	for _, b := range m.live {
		at = earlier(at, min(b.ask.at, m.due(b.started)))
	}
	if m.commit != nil {
		at = earlier(at, min(m.commit.ask.at, m.due(m.commit.started)))
	}
	return max(at, 0), at >= 0
}

func earlier(a, b time.Duration) time.Duration {
	if a < 0 {
		return b
	}
	return min(a, b)
}

// due is when a call that began at started has waited too long.
func (m *Machine) due(started time.Duration) time.Duration {
	return max(started, m.progress) + m.c.Deadline
}

// Tick lets time pass: it asks again for what is overdue, and fails the machine when nothing came within the deadline.
func (m *Machine) Tick(now time.Duration) {
	m.now = now
	if m.err != nil {
		return
	}
	for _, b := range m.live {
		if now >= m.due(b.started) {
			m.Fail(fmt.Errorf("%w of %s: %s", ErrDeadline, m.c.Deadline, m.describe(b)))
			return
		}
		if now >= b.ask.at {
			m.need(b)
		}
	}
	if c := m.commit; c != nil {
		if now >= m.due(c.started) {
			m.Fail(fmt.Errorf("%w of %s: commit of step %d: no word that it is done from rank %s",
				ErrDeadline, m.c.Deadline, m.step, m.silent()))
			return
		}
		if now >= c.ask.at {
			m.query()
		}
	}
}

// Fail ends everything with err, lets go of all memory and tells the other ranks why.
func (m *Machine) Fail(err error) {
	if m.err != nil {
		return
	}
	m.end(err)
	text := []byte(trim(err.Error(), MaxControl))
	for r := range m.c.Size {
		if r == m.c.Rank {
			continue
		}
		f := m.c.Pool.New(m.header(frame.Abort), len(text))
		copy(f.Payload(), text)
		f.Count = uint32(len(text))
		f.Seal()
		m.send(r, f)
	}
}

// Leave is Fail without a word to the others.
func (m *Machine) Leave(err error) {
	if m.err == nil {
		m.end(err)
	}
}

func (m *Machine) end(err error) {
	m.err = err
	for _, s := range m.out.Sends {
		s.Frame.Release()
	}
	m.out.Sends = nil
	for _, b := range m.buckets {
		b.release()
	}
	for _, f := range m.early {
		f.Release()
	}
	m.buckets, m.live, m.commit, m.early, m.spare = nil, nil, nil, nil, nil
	m.held, m.earlyBytes, m.earlyChunks = 0, 0, 0
}

// MaxControl bounds the payload of messages other than chunks, in bytes.
const MaxControl = 1024

// trim cuts s to at most n bytes, at the beginning of a character.
func trim(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// send hands on f, and the caller's hold of it.
func (m *Machine) send(to int, f frame.Frame) {
	m.stats.Sent++
	m.stats.SentBytes += int64(len(f.Buffer))
	m.out.Sends = append(m.out.Sends, Send{To: to, Frame: f})
}

// header is a message's header with all that does not depend on the message.
func (m *Machine) header(k frame.Kind) frame.Header {
	return frame.Header{
		Kind: k, Size: uint16(m.c.Size), Sender: uint16(m.c.Rank), Job: m.c.Job, Generation: m.c.Generation, Step: m.step,
	}
}

func (m *Machine) next() int { return (m.c.Rank + 1) % m.c.Size }

func (m *Machine) previous() int { return (m.c.Rank + m.c.Size - 1) % m.c.Size }

// openStep makes step the open one, if it is not.
func (m *Machine) openStep(step uint64) error {
	switch {
	case m.err != nil:
		return m.err
	case m.open && step != m.step:
		return fmt.Errorf("step %d: step %d is not committed", step, m.step)
	case m.committed && step <= m.last:
		return fmt.Errorf("step %d: step %d is committed already", step, m.last)
	}
	m.open, m.step = true, step
	return nil
}
