package cluster

import (
	"slices"
	"time"

	"pupil/coordinator/job"
)

// State is what the coordinators agree on. The zero value is not ready, see New. A State is not for concurrent use.
type State struct {
	Sequence    uint64    `json:"sequence"`     // number of commands that were applied
	Generation  uint64    `json:"generation"`   // of the newest plan; 0: there was none
	ActiveSince time.Time `json:"active_since"` // when the active run became that, or the coordinator was started
	Runs        []Run     `json:"runs"`         // in the order of their submission
	Workers     []Worker  `json:"workers"`      // those that live, by id
	Events      []Event   `json:"events"`       // the newest MaxEvents, oldest first
}

// MaxEvents is the number of events that the state keeps.
const MaxEvents = 256

// Phase is where a run stands.
type Phase string

// The phases.
const (
	Waiting  Phase = "waiting" // for its turn, or for workers
	Running  Phase = "running"
	Stopping Phase = "stopping" // a stop was asked for; the workers still have to end
	Finished Phase = "finished" // all steps are done
	Stopped  Phase = "stopped"  // on request; can be resumed
	Failed   Phase = "failed"   // can be resumed
)

// Over says that the phase is one that only a Resume leaves.
func (p Phase) Over() bool { return p == Finished || p == Stopped || p == Failed }

// Submission is a run as the user gives it.
type Submission struct {
	Run        string    `json:"run"`         // name, unique
	Spec       *job.Spec `json:"spec"`        // never changed
	Digest     string    `json:"digest"`      // of the spec
	Storage    string    `json:"storage"`     // URL of the run's checkpoints and results
	MinWorkers int       `json:"min_workers"` // that must be there before the run begins; at least 1
	Restore    int       `json:"restore"`     // step of the checkpoint to begin from; -1: from the beginning
}

// Run is a submitted job.
type Run struct {
	Submission
	Phase       Phase     `json:"phase"`
	Reason      string    `json:"reason"` // of the phase; "" where it speaks for itself
	Submitted   time.Time `json:"submitted"`
	Since       time.Time `json:"since"`       // of the phase
	StopAsked   bool      `json:"stop_asked"`  //
	Plan        *Plan     `json:"plan"`        // the newest; nil before the first
	Committed   int       `json:"committed"`   // the most steps that were ever committed; it never falls
	Position    int       `json:"position"`    // steps that the newest generation stands at; a resumed run has fallen back
	Checkpoints []int     `json:"checkpoints"` // steps, ascending; the newest maxCheckpoints
	Losses      []Loss    `json:"losses"`      // workers lost since the submission or the last Resume
	Endings     []Ended   `json:"endings"`     // by the plan's members, in the order of their coming
	Weights     string    `json:"weights"`     // SHA-256 of the final weights; "" until Finished or Stopped
	EndedStep   int       `json:"ended_step"`  // committed steps at the end, when Finished or Stopped
}

const maxCheckpoints = 64

// Plan says who carries what in a generation.
type Plan struct {
	Generation uint64   `json:"generation"`
	Restore    int      `json:"restore"` // as in Submission
	Members    []Member `json:"members"` // by rank
}

// Member is a worker's part of a plan.
type Member struct {
	Worker string `json:"worker"`
	Lanes  []int  `json:"lanes"` // ascending; may be empty
}

// Rank is the worker's index in Members, or -1.
func (p *Plan) Rank(worker string) int {
	return slices.IndexFunc(p.Members, func(m Member) bool { return m.Worker == worker })
}

// Loss is a worker that went before its part was done.
type Loss struct {
	Worker string `json:"worker"` // "": all of them
	Reason string `json:"reason"`
}

// Worker is a registered worker process.
type Worker struct {
	ID         string    `json:"id"`
	Session    string    `json:"session"` // tells the process from others with the same id
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Threads    int       `json:"threads"`
	Kernel     string    `json:"kernel"`     // all members of a plan have the same
	Run        string    `json:"run"`        // whose plan it carries, or has carried; "": none
	Generation uint64    `json:"generation"` // of that plan
	Done       bool      `json:"done"`       // its part of the plan has ended; it leaves when the run is over
	Joined     time.Time `json:"joined"`

	RingAddress string `json:"ring_address"` // of its own server for the ring's data; "": it has none
	RingKey     string `json:"ring_key"`     // that server's public key
}

// Event is something worth telling an operator.
type Event struct {
	Sequence uint64    `json:"sequence"` // of the command that caused it
	Time     time.Time `json:"time"`
	Run      string    `json:"run"`    // "" when it concerns none
	Worker   string    `json:"worker"` // "" when it concerns none
	Text     string    `json:"text"`
}

// New returns the state in which nothing has happened.
func New() *State { return &State{} }

// Run returns the run of a name, or nil. It belongs to the state.
func (s *State) Run(name string) *Run {
	for i := range s.Runs {
		if s.Runs[i].Run == name {
			return &s.Runs[i]
		}
	}
	return nil
}

// Active returns the run whose turn it is, or nil: the first that is not over. It belongs to the state.
func (s *State) Active() *Run {
	for i := range s.Runs {
		if !s.Runs[i].Phase.Over() {
			return &s.Runs[i]
		}
	}
	return nil
}

// Worker returns the live worker of an id, or nil. It belongs to the state.
func (s *State) Worker(id string) *Worker {
	if i, ok := s.findWorker(id); ok {
		return &s.Workers[i]
	}
	return nil
}

func (s *State) findWorker(id string) (int, bool) {
	return slices.BinarySearchFunc(s.Workers, id, func(w Worker, id string) int {
		switch {
		case w.ID < id:
			return -1
		case w.ID > id:
			return 1
		}
		return 0
	})
}

// Clone returns a copy that shares only what never changes: the specs.
func (s *State) Clone() *State {
	c := *s
	c.Workers = slices.Clone(s.Workers)
	c.Events = slices.Clone(s.Events)
	c.Runs = slices.Clone(s.Runs)
	for i := range c.Runs {
		r := &c.Runs[i]
		r.Checkpoints = slices.Clone(r.Checkpoints)
		r.Losses = slices.Clone(r.Losses)
		r.Endings = slices.Clone(r.Endings)
		// A plan is never changed, only replaced.
	}
	return &c
}

// ending returns how a member's part ended, or nil while it has not.
func (r *Run) ending(worker string) *Ended {
	for i := range r.Endings {
		if r.Endings[i].Worker == worker {
			return &r.Endings[i]
		}
	}
	return nil
}

// enter changes a run's phase.
func (r *Run) enter(p Phase, reason string, at time.Time) {
	r.Phase, r.Reason, r.Since = p, reason, at
}
