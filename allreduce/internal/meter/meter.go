// Package meter adds up where a rank's time goes, step by step, so that a slow rank or a slow network can be told from
// a fast one that waits for it.
package meter

import (
	"sync"
	"time"
)

// Times is where one rank's time went. The parts may overlap: sending goes on beside all else.
type Times struct {
	Steps  int           // committed
	Wait   time.Duration // a vector was under way, and nothing had come from the previous rank
	Commit time.Duration // all sums were there, and not every rank had said so
	Behind time.Duration // chunks of the previous rank waited for this rank to begin their bucket or step
	Add    time.Duration // checking, adding and copying of messages
	Send   time.Duration // in the link's Send
}

// Plus is the sum of both.
func (t Times) Plus(u Times) Times {
	return Times{
		Steps: t.Steps + u.Steps, Wait: t.Wait + u.Wait, Commit: t.Commit + u.Commit, Behind: t.Behind + u.Behind,
		Add: t.Add + u.Add, Send: t.Send + u.Send,
	}
}

// State is what a rank waits for between two turns of its loop.
type State struct {
	Chunks bool // a vector is under way
	Done   bool // a commit is under way
	Ahead  bool // chunks of the previous rank are here that this rank has not begun
}

// Meter is the account of one rank. Its methods are safe for concurrent use; the times given rise.
type Meter struct {
	mu                sync.Mutex
	at                time.Duration // of the last turn's end
	state             State         // since then
	open, last, total Times         // of the open step, the last committed one, and all committed ones
}

// Woke ends a wait that began with the last Turn.
func (m *Meter) Woke(now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = m.open.Plus(m.idle(now))
	m.at = now
}

// idle is where the time has gone since the last turn or Woke.
func (m *Meter) idle(now time.Duration) (t Times) {
	d := now - m.at
	if m.state.Ahead {
		t.Behind = d
	}
	if m.state.Chunks {
		t.Wait = d
	} else if m.state.Done {
		t.Commit = d
	}
	return t
}

// Turn ends the work that began with Woke, and begins a wait. committed says that the work has ended a step.
func (m *Meter) Turn(now time.Duration, s State, committed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open.Add += now - m.at
	m.at, m.state = now, s
	if committed {
		m.open.Steps = 1
		m.last, m.total, m.open = m.open, m.total.Plus(m.open), Times{}
	}
}

// Checked adds time in which messages were checked.
func (m *Meter) Checked(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open.Add += d
}

// Sent adds time in which the link's Send ran.
func (m *Meter) Sent(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open.Send += d
}

// Read returns the times of the last committed step, and of all steps with the open one up to now.
func (m *Meter) Read(now time.Duration) (step, total Times) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.total.Plus(m.open).Plus(m.idle(now))
}
