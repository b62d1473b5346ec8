package cluster

import (
	"slices"
	"time"

	"pupil/coordinator/job"
)

// State is what the coordinators agree on. The zero value is not ready, see New. A State is not for concurrent use.
type State struct {
	Sequence    uint64         `json:"sequence"`          // number of commands that were applied
	Generation  uint64         `json:"generation"`        // of the newest plan; 0: there was none
	ActiveSince time.Time      `json:"active_since"`      // when the active run became that, or the coordinator was started
	Runs        []Run          `json:"runs"`              // in the order of their submission
	Workers     []Worker       `json:"workers"`           // those that live, by id
	Events      []Event        `json:"events"`            // the newest MaxEvents, oldest first
	Removed     []RemovedToken `json:"removed,omitempty"` // of late; likewise
	Tokens      []Token        `json:"tokens,omitempty"`  // of the API, beside the cluster's; without any the state reads as before there were some
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

// What a member's part of a generation may end as, beside Finished, Stopped and Failed.
const (
	Yielded     Phase = "yielded"     // it was asked to end after a step, for another generation
	Interrupted Phase = "interrupted" // the ring broke: the job is not at fault, another generation may do
)

// Over says that the phase is one that only a Resume leaves.
func (p Phase) Over() bool { return p == Finished || p == Stopped || p == Failed }

// Submission is a run as the user gives it.
type Submission struct {
	Run        string    `json:"run"`         // name, unique
	Spec       *job.Spec `json:"spec"`        // never changed
	Digest     string    `json:"digest"`      // of the spec
	Storage    string    `json:"storage"`     // URL of the run's checkpoints and results
	MinWorkers int       `json:"min_workers"` // with fewer the run waits; at least 1
	Workers    int       `json:"workers"`     // that the run waits for at its beginning, for the join timeout; 0: MinWorkers
	MaxWorkers int       `json:"max_workers"` // that the run takes, the others are for later runs; 0: as many as it has lanes
	Restore    int       `json:"restore"`     // step of the checkpoint to begin from; -1: from the beginning
	// Passed says of newer checkpoints why they cannot be used. They become events, and are not kept.
	Passed []string `json:"passed,omitempty"`
}

// Run is a submitted job.
type Run struct {
	Submission
	Phase       Phase     `json:"phase"`
	Reason      string    `json:"reason"` // of the phase; "" where it speaks for itself
	Submitted   time.Time `json:"submitted"`
	Since       time.Time `json:"since"`              // of the phase
	StopAsked   bool      `json:"stop_asked"`         //
	Begun       bool      `json:"begun"`              // there was a plan since the submission or the last Resume
	Kernel      string    `json:"kernel"`             // of the members since then
	Numerics    int       `json:"numerics,omitempty"` // likewise
	Yielding    string    `json:"yielding"`           // why the generation shall end after a step; "": it shall not
	Handover    bool      `json:"handover"`           // with Yielding: nobody is there to take over, so a checkpoint is saved
	Fruitless   int       `json:"fruitless"`          // generations in a row that have committed nothing
	Plan        *Plan     `json:"plan"`               // the newest; nil before the first
	Committed   int       `json:"committed"`          // the most steps that were ever committed; it never falls
	Position    int       `json:"position"`           // steps that the newest generation stands at; a resumed run has fallen back
	Checkpoints []int     `json:"checkpoints"`        // steps, ascending; the newest maxCheckpoints
	Paces       []Pace    `json:"paces"`              // of workers, as they were measured when lanes last had to move; of others nothing is known
	Spans       []Span    `json:"spans"`              // the ledger: which generation has committed which steps
	Losses      []Loss    `json:"losses"`             // workers lost since the newest plan, or while the run waited for its first
	Endings     []Ended   `json:"endings"`            // by the plan's members, in the order of their coming
	Weights     string    `json:"weights"`            // SHA-256 of the final weights; "" until Finished or Stopped
	EndedStep   int       `json:"ended_step"`         // committed steps at the end, when Finished or Stopped
}

const (
	maxCheckpoints = 64
	maxSpans       = 1024
)

// Span says that a generation has committed the steps From+1 to To, on the way from the beginning to where the run
// stands: steps that were made again after a restore count for the generation that has made them last. Each span begins
// where the one before ends. Of many, the oldest are joined, with the Generation of the last of them.
type Span struct {
	Generation uint64 `json:"generation"`
	From       int    `json:"from"`
	To         int    `json:"to"`
}

// Plan says who carries what in a generation.
type Plan struct {
	Generation uint64   `json:"generation"`
	Restore    int      `json:"restore"` // step of the newest checkpoint, for workers without a newer state; -1: there is none
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
	Worker string `json:"worker"`
	Reason string `json:"reason"` // how it went: "was lost: ..." or "left"
}

// Worker is a registered worker process.
type Worker struct {
	ID         string    `json:"id"`
	Session    string    `json:"session"` // tells the process from others with the same id
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Threads    int       `json:"threads"`
	Kernel     string    `json:"kernel"`             // all members of a plan have the same
	Build      string    `json:"build,omitempty"`    // version of its build
	Numerics   int       `json:"numerics,omitempty"` // version.Numerics of it; all members of a plan have the same
	Run        string    `json:"run"`                // whose plan it carries, or has carried; "": none
	Generation uint64    `json:"generation"`         // of that plan
	Done       bool      `json:"done"`               // its part of the plan has ended
	Leaving    string    `json:"leaving"`            // why it wants to leave, as soon as it carries nothing; "": it does not
	Joined     time.Time `json:"joined"`
	Preparing  string    `json:"preparing"` // run that it was asked to prepare for last; "": none
	Prepared   bool      `json:"prepared"`  // it is, for that run
	Unfit      string    `json:"unfit"`     // run that it cannot prepare for; "": none
	Asked      time.Time `json:"asked"`     // when it was asked to prepare, or was prepared

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
		r.Paces = slices.Clone(r.Paces)
		r.Spans = slices.Clone(r.Spans)
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
