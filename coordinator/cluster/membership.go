package cluster

import (
	"slices"
	"time"
)

// Join takes a worker process in. To join again with the same session changes nothing.
type Join struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Threads int    `json:"threads"`
	Kernel  string `json:"kernel"`

	RingAddress string `json:"ring_address"`
	RingKey     string `json:"ring_key"`
}

func (Join) kind() string { return "join" }

func (c Join) apply(s *State, at time.Time) error {
	if c.Worker == "" || c.Session == "" {
		return refuse(ErrRefused, "a worker needs an id and a session")
	}
	i, found := s.findWorker(c.Worker)
	if found {
		w := s.Workers[i]
		if w.Session == c.Session {
			return nil
		}
		return refuse(ErrRefused, "the worker id %s belongs to process %d on %s, which lives", w.ID, w.PID, w.Host)
	}
	s.Workers = slices.Insert(s.Workers, i, Worker{
		ID: c.Worker, Session: c.Session, Host: c.Host, PID: c.PID, Threads: c.Threads, Kernel: c.Kernel, Joined: at,
		RingAddress: c.RingAddress, RingKey: c.RingKey,
	})
	s.event(at, "", c.Worker, "joined from %s, process %d, %d threads, %s kernels", c.Host, c.PID, c.Threads, c.Kernel)
	return nil
}

// Lost says that a worker is gone. With Session "" it is whatever process has the id; then it may also be one that
// never came to join, which counts against a run that waits for workers.
type Lost struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Reason  string `json:"reason"`
}

func (Lost) kind() string { return "lost" }

func (c Lost) apply(s *State, at time.Time) error {
	r := s.Active()
	waiting := r != nil && r.Phase == Waiting
	found := s.Worker(c.Worker)
	switch {
	case found == nil && c.Session == "" && waiting:
		r.lose(c.Worker, c.Reason)
		s.event(at, r.Run, c.Worker, "lost before it joined: %s", c.Reason)
		return nil
	case found == nil:
		return refuse(ErrUnknown, "there is no worker %s", c.Worker)
	case c.Session != "" && c.Session != found.Session:
		return refuse(ErrStale, "session %s of worker %s is over", c.Session, c.Worker)
	}
	w := *found
	if w.Run == "" && waiting {
		r.lose(c.Worker, c.Reason)
	}
	s.remove(w, c.Reason)
	s.event(at, w.Run, c.Worker, "lost: %s", c.Reason)
	return nil
}

// Leave says that a worker went of its own will.
type Leave struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
}

func (Leave) kind() string { return "leave" }

func (c Leave) apply(s *State, at time.Time) error {
	w := s.Worker(c.Worker)
	if w == nil {
		return refuse(ErrUnknown, "there is no worker %s", c.Worker)
	}
	if c.Session != w.Session {
		return refuse(ErrStale, "session %s of worker %s is over", c.Session, c.Worker)
	}
	s.remove(*w, "it left before its part was done")
	s.event(at, "", c.Worker, "left")
	return nil
}

// Restarted says that a coordinator has begun with this state, and that no worker knows it.
type Restarted struct{}

func (Restarted) kind() string { return "restarted" }

func (Restarted) apply(s *State, at time.Time) error {
	for i := range s.Runs {
		r := &s.Runs[i]
		if r.Phase == Waiting {
			r.Losses = nil
		} else if !r.Phase.Over() && len(r.Endings) < len(r.Plan.Members) {
			r.lose("", "the coordinator was restarted")
		}
	}
	s.Workers = nil
	s.ActiveSince = at
	s.event(at, "", "", "the coordinator was started")
	return nil
}

// remove takes a worker out. One that still carries a plan of a run that goes on is a loss to it.
func (s *State) remove(w Worker, reason string) {
	if r := s.Run(w.Run); r != nil && !w.Done && !r.Phase.Over() && r.Plan != nil && r.Plan.Generation == w.Generation {
		r.lose(w.ID, reason)
	}
	if i, ok := s.findWorker(w.ID); ok {
		s.Workers = slices.Delete(s.Workers, i, i+1)
	}
}

func (r *Run) lose(worker, reason string) {
	r.Losses = append(r.Losses, Loss{Worker: worker, Reason: reason})
}
