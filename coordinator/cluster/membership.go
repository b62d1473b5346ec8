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

	Build    string `json:"build,omitempty"`    // version of the worker's build
	Numerics int    `json:"numerics,omitempty"` // version.Numerics of it

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
		Build: c.Build, Numerics: c.Numerics, RingAddress: c.RingAddress, RingKey: c.RingKey,
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
	found := s.Worker(c.Worker)
	switch {
	case found == nil && c.Session == "" && r != nil && r.Phase == Waiting && !r.Begun:
		r.lose(c.Worker, "was lost: "+c.Reason)
		s.event(at, r.Run, c.Worker, "lost before it joined: %s", c.Reason)
		return nil
	case found == nil:
		return refuse(ErrUnknown, "there is no worker %s", c.Worker)
	case c.Session != "" && c.Session != found.Session:
		return refuse(ErrStale, "session %s of worker %s is over", c.Session, c.Worker)
	}
	w := *found
	s.remove(w, "was lost: "+c.Reason)
	s.event(at, w.Run, c.Worker, "lost: %s", c.Reason)
	return nil
}

// Draining says that a worker wants to leave, as it does after SIGTERM: it ends its step and hands over its lanes
// first.
type Draining struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Reason  string `json:"reason"`
}

func (Draining) kind() string { return "draining" }

func (c Draining) apply(s *State, at time.Time) error {
	w, err := s.session(c.Worker, c.Session)
	switch {
	case err != nil:
		return err
	case c.Reason == "":
		return refuse(ErrRefused, "worker %s does not say why it leaves", c.Worker)
	case w.Leaving != "":
		return nil
	}
	w.Leaving = c.Reason
	s.event(at, w.Run, c.Worker, "is about to leave: %s", c.Reason)
	return nil
}

// session returns a live worker, or why a process with this session cannot speak for it.
func (s *State) session(worker, session string) (*Worker, error) {
	w := s.Worker(worker)
	if w == nil {
		return nil, refuse(ErrUnknown, "there is no worker %s", worker)
	}
	if session != w.Session {
		return nil, refuse(ErrStale, "session %s of worker %s is over", session, worker)
	}
	return w, nil
}

// Leave says that a worker went of its own will.
type Leave struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
}

func (Leave) kind() string { return "leave" }

func (c Leave) apply(s *State, at time.Time) error {
	w, err := s.session(c.Worker, c.Session)
	if err != nil {
		return err
	}
	run := w.Run
	s.remove(*w, "left")
	s.event(at, run, c.Worker, "left")
	return nil
}

// Restarted says that a coordinator has begun with this state, and that no worker knows it.
type Restarted struct{}

func (Restarted) kind() string { return "restarted" }

func (Restarted) apply(s *State, at time.Time) error {
	s.Workers = nil
	for i := range s.Runs {
		r := &s.Runs[i]
		if r.Phase == Waiting {
			r.Losses = nil
		} else if !r.Phase.Over() && len(r.Endings) < len(r.Plan.Members) {
			s.suspend(r, "the coordinator was restarted", at)
		}
	}
	s.ActiveSince = at
	s.event(at, "", "", "the coordinator was started")
	return nil
}

// remove takes a worker out, which is a loss to a run whose plan it carries.
func (s *State) remove(w Worker, reason string) {
	if r := s.Run(w.Run); r != nil && !r.Phase.Over() {
		r.lose(w.ID, reason)
	}
	if i, ok := s.findWorker(w.ID); ok {
		s.Workers = slices.Delete(s.Workers, i, i+1)
	}
}

func (r *Run) lose(worker, reason string) {
	r.Losses = append(r.Losses, Loss{Worker: worker, Reason: reason})
}

// free lets a run's workers go, but for the members of a plan.
func (s *State) free(run string, but []Member) {
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.Run == run && !slices.ContainsFunc(but, func(m Member) bool { return m.Worker == w.ID }) {
			w.Run, w.Generation, w.Done = "", 0, false
		}
	}
}
