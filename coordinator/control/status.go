package control

import (
	"context"
	"slices"
	"sync"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// Status is where things stand. It is not changed after it was given out.
type Status struct {
	Run         string        // the first run that is not over, or the one that ended last; "" when there was none
	Phase       cluster.Phase // of the run
	Reason      string        // why the run failed or stopped
	Generation  uint64        // of the run's newest plan; 0: none
	Step        int           // committed steps of the newest generation
	Total       int           // steps of the whole job; 0 while no worker has told
	Report      *wire.Report  // the newest of the generation; nil: none
	Checkpoints []int         // steps, ascending
	Weights     string        // SHA-256 of the final weights
	Workers     []WorkerStatus
	Queue       []string // runs that wait for their turn
	Events      []cluster.Event
	State       *cluster.State          // all of it; not to be changed
	Reports     map[string]*wire.Report // the newest of each run's newest generation, as far as there is one
}

// WorkerStatus is a live worker.
type WorkerStatus struct {
	cluster.Worker
	Rank     int           // in the run's plan; -1: it carries nothing
	Lanes    []int         // that it carries
	Activity wire.Activity //
	Step     int           // of its newest heartbeat
	Times    wire.Times    // of its newest heartbeat: its last step
	Timed    int           // of its newest heartbeat: steps,
	Total    wire.Times    // and where their time went
	Heard    time.Time     // when that came
}

// Status returns where things stand now.
func (s *Service) Status() Status { return s.watch.get() }

// Watch returns a channel with the newest status, at once and after each change. A reader that is slow misses those
// between, but never the last. The channel is closed when ctx or the service ends.
func (s *Service) Watch(ctx context.Context) <-chan Status { return s.watch.add(ctx) }

// publish tells the watchers where things stand.
func (s *Service) publish() { s.watch.set(s.status()) }

func (s *Service) status() Status {
	st := Status{Events: slices.Clone(s.state.Events), State: s.state, Reports: make(map[string]*wire.Report)}
	for name, p := range s.progress {
		if r := s.state.Run(name); r != nil && r.Plan != nil && r.Plan.Generation == p.report.Generation {
			st.Reports[name] = p.report
		}
	}
	r := current(s.state)
	if r != nil {
		st.Run, st.Phase, st.Reason, st.Step = r.Run, r.Phase, r.Reason, r.Position
		st.Weights, st.Checkpoints = r.Weights, slices.Clone(r.Checkpoints)
		if r.Plan != nil {
			st.Generation = r.Plan.Generation
		}
		if p := st.Reports[r.Run]; p != nil {
			st.Report, st.Step, st.Total = p, p.Step, p.Total
		}
		if r.Phase == cluster.Finished || r.Phase == cluster.Stopped {
			st.Step = max(st.Step, r.EndedStep)
		}
	}
	for _, queued := range s.state.Runs {
		if queued.Phase == cluster.Waiting && queued.Run != st.Run {
			st.Queue = append(st.Queue, queued.Run)
		}
	}
	for _, w := range s.state.Workers {
		ws := WorkerStatus{Worker: w, Rank: -1}
		if l := s.leases[w.ID]; l != nil {
			ws.Activity, ws.Step, ws.Times, ws.Heard = l.beat.Activity, l.beat.Step, l.beat.Times, l.beatAt
			ws.Timed, ws.Total = l.beat.Timed, l.beat.Total
		}
		if r := s.state.Run(w.Run); r != nil && r.Plan != nil && w.Generation == r.Plan.Generation {
			ws.Rank = r.Plan.Rank(w.ID)
			ws.Lanes = r.Plan.Members[ws.Rank].Lanes
		}
		st.Workers = append(st.Workers, ws)
	}
	return st
}

// current is the active run, or the one that has ended last.
func current(s *cluster.State) *cluster.Run {
	r := s.Active()
	if r == nil {
		for i := range s.Runs {
			if r == nil || !s.Runs[i].Since.Before(r.Since) {
				r = &s.Runs[i]
			}
		}
	}
	return r
}

// watch hands the newest status to all who look.
type watch struct {
	mu     sync.Mutex
	now    Status
	known  bool // now was set
	closed bool
	to     map[chan Status]func() bool // with what stops waiting for the watcher's context
}

func (w *watch) get() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) set(s Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.known = s, true
	for c := range w.to {
		select {
		case <-c: // the one before was not taken
		default:
		}
		c <- s // there is room: nobody else sends
	}
}

func (w *watch) add(ctx context.Context) <-chan Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan Status, 1)
	if w.known {
		c <- w.now
	}
	if w.closed {
		close(c)
		return c
	}
	if w.to == nil {
		w.to = make(map[chan Status]func() bool)
	}
	w.to[c] = context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, open := w.to[c]; open {
			delete(w.to, c)
			close(c)
		}
	})
	return c
}

func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c, stop := range w.to {
		stop()
		close(c)
	}
	w.to = nil
}
