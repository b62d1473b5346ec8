package machine

import (
	"fmt"
	"time"

	"pupil/allreduce/internal/frame"
)

// Receive takes a message that frame.Decode has checked, and the caller's hold of it. Its buffer belongs to the machine
// from now on.
func (m *Machine) Receive(now time.Duration, f frame.Frame) {
	defer f.Release()
	m.now = now
	if m.err != nil {
		return
	}
	m.stats.Received++
	m.stats.ReceivedBytes += int64(len(f.Buffer))
	m.handle(f)
}

func (m *Machine) handle(f frame.Frame) {
	switch {
	case f.Job != m.c.Job || f.Generation != m.c.Generation:
		m.stats.Stale++
	case int(f.Size) != m.c.Size:
		m.mismatch("rank %d believes in %d ranks, this rank in %d", f.Sender, f.Size, m.c.Size)
	case int(f.Sender) == m.c.Rank:
		m.mismatch("two workers have rank %d", f.Sender)
	case f.Kind == frame.Abort:
		m.end(fmt.Errorf("%w by rank %d: %q", ErrAborted, f.Sender, f.Payload()))
	case m.committed && f.Step <= m.last:
		m.handlePast(f)
	case m.open && f.Step < m.step:
		m.mismatch("rank %d is at step %d, this rank at step %d; a generation begins at the same step on all",
			f.Sender, f.Step, m.step)
	case !m.open || f.Step > m.step:
		m.keepEarly(f)
	default:
		m.handleOpen(f)
	}
}

// handlePast takes a message of a committed step: only a rank that still waits for the last step's end gets an answer.
func (m *Machine) handlePast(f frame.Frame) {
	if f.Kind == frame.Query && f.Step == m.last {
		m.answer(int(f.Sender), m.last, m.digest, true)
		return
	}
	m.stats.Stale++
}

// handleOpen takes a message of the open step.
func (m *Machine) handleOpen(f frame.Frame) {
	switch f.Kind {
	case frame.Data:
		m.receiveData(f)
	case frame.Part:
		m.receivePart(f)
	case frame.Alive:
		m.receiveAlive(f)
	case frame.Need:
		m.serve(f)
	case frame.Done:
		m.receiveDone(f)
	case frame.Query:
		if m.commit != nil {
			m.answer(int(f.Sender), m.step, m.commit.digest, false)
		} else if m.pieces > 0 {
			m.alive(int(f.Sender))
		}
	}
}

func (m *Machine) mismatch(format string, args ...any) {
	m.Fail(fmt.Errorf("%w: "+format, append([]any{ErrMismatch}, args...)...))
}

// keepEarly keeps a message for a step or bucket that was not started here yet. What has no room is asked for later.
// NEED and QUERY are not worth it: their senders repeat them.
func (m *Machine) keepEarly(f frame.Frame) {
	if f.Kind != frame.Data && f.Kind != frame.Done {
		m.stats.Stale++
		return
	}
	if m.earlyBytes+len(f.Buffer) > m.c.EarlyBytes {
		m.stats.Dropped++
		m.overflowed = true
		return
	}
	m.stats.Early++
	m.putEarly(f.Keep())
}

func (m *Machine) putEarly(f frame.Frame) {
	m.earlyBytes += len(f.Buffer)
	if f.Kind == frame.Data {
		m.earlyChunks++
	}
	m.early = append(m.early, f)
}

// replay handles the early messages that are early no more.
func (m *Machine) replay() {
	if len(m.early) == 0 {
		return
	}
	early := m.early
	m.early, m.earlyBytes, m.earlyChunks = nil, 0, 0
	for _, f := range early {
		switch {
		case m.err != nil:
			f.Release()
		case m.isEarly(f):
			m.putEarly(f)
		default:
			m.handle(f)
			f.Release()
		}
	}
}

// isEarly tells whether a message is for a step or bucket that was not started here.
func (m *Machine) isEarly(f frame.Frame) bool {
	switch {
	case m.committed && f.Step <= m.last:
		return false
	case !m.open || f.Step != m.step:
		return !m.open || f.Step > m.step
	}
	return f.Kind == frame.Data && m.buckets[f.Bucket] == nil && m.commit == nil
}
