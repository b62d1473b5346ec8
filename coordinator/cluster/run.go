package cluster

import (
	"fmt"
	"slices"
	"time"
)

// Submit adds a run. It waits for its turn.
type Submit struct {
	Submission
}

func (Submit) kind() string { return "submit" }

func (c Submit) apply(s *State, at time.Time) error {
	if err := c.check(); err != nil {
		return err
	}
	if r := s.Run(c.Run); r != nil {
		return refuse(ErrRefused, "there is a run %s, which is %s; resume it, or give the new run another name",
			c.Run, r.Phase)
	}
	s.Runs = append(s.Runs, Run{Submission: c.Submission, Phase: Waiting, Submitted: at, Since: at})
	s.event(at, c.Run, "", "submitted")
	return nil
}

func (c Submission) check() error {
	switch {
	case c.Run == "":
		return refuse(ErrRefused, "the run has no name")
	case c.Spec == nil:
		return refuse(ErrRefused, "run %s has no spec", c.Run)
	case c.Spec.Lanes < 1 || c.Spec.Lanes > maxLanes:
		return refuse(ErrRefused, "run %s has %d lanes; it must have 1 to %d", c.Run, c.Spec.Lanes, maxLanes)
	case c.MinWorkers < 1:
		return refuse(ErrRefused, "run %s asks for %d workers; it needs at least 1", c.Run, c.MinWorkers)
	case c.Restore < -1:
		return refuse(ErrRefused, "run %s cannot begin from step %d", c.Run, c.Restore)
	}
	return nil
}

// Resume lets a run that was stopped, has failed or waits begin again from a checkpoint. The job must be the same, by
// its digest; where things lie, the storage and the number of workers may have changed.
type Resume struct {
	Submission
}

func (Resume) kind() string { return "resume" }

func (c Resume) apply(s *State, at time.Time) error {
	if err := c.check(); err != nil {
		return err
	}
	r := s.Run(c.Run)
	switch {
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s to resume", c.Run)
	case r.Phase == Running || r.Phase == Stopping:
		return refuse(ErrRefused, "run %s is %s already", c.Run, r.Phase)
	case r.Phase == Finished:
		return refuse(ErrRefused, "run %s has finished; there is nothing to resume", c.Run)
	case r.Digest != c.Digest || r.Spec.Lanes != c.Spec.Lanes:
		return refuse(ErrRefused, "run %s was submitted with another job (digest %.12s, now %.12s); "+
			"resume with the job it was made with, or give the new run another name", c.Run, r.Digest, c.Digest)
	}
	next := *r
	next.Submission = c.Submission
	next.Losses, next.StopAsked, next.Weights, next.EndedStep = nil, false, "", 0
	over := r.Phase.Over()
	next.enter(Waiting, "", at)
	if over { // it queues again, behind those that wait
		i := slices.IndexFunc(s.Runs, func(r Run) bool { return r.Run == c.Run })
		s.Runs = append(slices.Delete(s.Runs, i, i+1), next)
	} else {
		*r = next
		if s.Active() == r {
			s.ActiveSince = at
		}
	}
	from := "the beginning"
	if c.Restore >= 0 {
		from = fmt.Sprintf("step %d", c.Restore)
	}
	s.event(at, c.Run, "", "resumed from %s", from)
	return nil
}

// Planned gives a run's lanes to workers and lets it run: a new generation. Decide makes it.
type Planned struct {
	Run  string `json:"run"`
	Plan Plan   `json:"plan"`
}

func (Planned) kind() string { return "planned" }

func (c Planned) apply(s *State, at time.Time) error {
	r := s.Active()
	switch {
	case r == nil || r.Run != c.Run:
		return refuse(ErrRefused, "it is not the turn of run %s", c.Run)
	case r.Phase != Waiting:
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case c.Plan.Generation != s.Generation+1:
		return refuse(ErrStale, "a plan of generation %d, when %d is due", c.Plan.Generation, s.Generation+1)
	}
	for _, m := range c.Plan.Members {
		if w := s.Worker(m.Worker); w == nil || w.Run != "" {
			return refuse(ErrRefused, "worker %s is not free", m.Worker)
		}
	}
	if err := checkLanes(r.Spec.Lanes, c.Plan.Members); err != nil {
		return refuse(ErrRefused, "%v", err)
	}
	s.Generation = c.Plan.Generation
	plan := c.Plan
	r.Plan, r.Losses, r.Endings = &plan, nil, nil
	r.Position = max(0, plan.Restore)
	r.enter(Running, "", at)
	for _, m := range plan.Members {
		w := s.Worker(m.Worker)
		w.Run, w.Generation = r.Run, plan.Generation
	}
	s.event(at, r.Run, "", "generation %d: %s on %s", plan.Generation,
		count(r.Spec.Lanes, "lane"), count(len(plan.Members), "worker"))
	return nil
}

// Committed says that a generation has committed so many steps. It may come rarely, and late.
type Committed struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

func (Committed) kind() string { return "committed" }

func (c Committed) apply(s *State, _ time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	if err != nil {
		return err
	}
	if r.Phase.Over() {
		return refuse(ErrStale, "run %s is %s", c.Run, r.Phase)
	}
	r.commit(c.Step)
	return nil
}

func (r *Run) commit(step int) {
	r.Position = max(r.Position, step)
	r.Committed = max(r.Committed, step)
}

// Checkpointed says that a generation has saved a whole checkpoint.
type Checkpointed struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

func (Checkpointed) kind() string { return "checkpointed" }

func (c Checkpointed) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	if err != nil {
		return err
	}
	if c.Step < 0 {
		return refuse(ErrRefused, "a checkpoint of step %d", c.Step)
	}
	r.commit(c.Step)
	i, found := slices.BinarySearch(r.Checkpoints, c.Step)
	if found {
		return nil
	}
	r.Checkpoints = slices.Insert(r.Checkpoints, i, c.Step)
	if n := len(r.Checkpoints) - maxCheckpoints; n > 0 {
		r.Checkpoints = slices.Delete(r.Checkpoints, 0, n)
	}
	s.event(at, r.Run, "", "checkpoint of step %d", c.Step)
	return nil
}

// Ended says how a member's part of a generation ended. Only the first one counts.
type Ended struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Outcome    Phase  `json:"outcome"` // Finished, Stopped or Failed
	Step       int    `json:"step"`    // committed steps
	Error      string `json:"error"`   // of a failure
	Weights    string `json:"weights"` // SHA-256 of the weights after Step
}

func (Ended) kind() string { return "ended" }

func (c Ended) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	if err != nil {
		return err
	}
	switch {
	case r.Plan.Rank(c.Worker) < 0:
		return refuse(ErrStale, "worker %s is no member of generation %d", c.Worker, c.Generation)
	case !c.Outcome.Over():
		return refuse(ErrRefused, "a part cannot end as %q", c.Outcome)
	case r.ending(c.Worker) != nil:
		return nil
	}
	r.Endings = append(r.Endings, c)
	if w := s.Worker(c.Worker); w != nil && w.Generation == c.Generation {
		w.Done = true
	}
	if c.Outcome == Failed {
		s.event(at, r.Run, c.Worker, "failed: %s", c.Error)
		return nil
	}
	r.commit(c.Step)
	s.event(at, r.Run, c.Worker, "%s after step %d", c.Outcome, c.Step)
	return nil
}

// StopRequested asks a run to stop after a step. To ask again changes nothing.
type StopRequested struct {
	Run    string `json:"run"`
	Reason string `json:"reason"`
}

func (StopRequested) kind() string { return "stop_requested" }

func (c StopRequested) apply(s *State, at time.Time) error {
	r := s.Run(c.Run)
	switch {
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	case r.Phase.Over():
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case r.StopAsked:
		return nil
	}
	r.StopAsked = true
	if r.Phase == Running {
		r.enter(Stopping, c.Reason, at)
	} else {
		r.Reason = c.Reason
	}
	s.event(at, r.Run, "", "asked to stop: %s", c.Reason)
	return nil
}

// Concluded ends a run. Decide makes it.
type Concluded struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"` // of the run's newest plan; 0: it has none
	Phase      Phase  `json:"phase"`      // Finished, Stopped or Failed
	Reason     string `json:"reason"`
	Weights    string `json:"weights"` // SHA-256 of the final weights
	Step       int    `json:"step"`    // committed steps
}

func (Concluded) kind() string { return "concluded" }

func (c Concluded) apply(s *State, at time.Time) error {
	r := s.Run(c.Run)
	switch {
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	case r.generation() != c.Generation:
		return refuse(ErrStale, "generation %d of run %s is over", c.Generation, c.Run)
	case r.Phase.Over():
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case !c.Phase.Over():
		return refuse(ErrRefused, "a run cannot end as %q", c.Phase)
	}
	r.enter(c.Phase, c.Reason, at)
	r.Weights, r.EndedStep = c.Weights, c.Step
	text := string(c.Phase)
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	s.event(at, r.Run, "", "%s", text)
	return nil
}

// current returns the run of a name when its newest plan is of the given generation.
func (s *State) current(run string, generation uint64) (*Run, error) {
	r := s.Run(run)
	if r == nil {
		return nil, refuse(ErrUnknown, "there is no run %s", run)
	}
	if generation == 0 || r.generation() != generation {
		return nil, refuse(ErrStale, "generation %d of run %s is over", generation, run)
	}
	return r, nil
}

// generation is that of the run's newest plan; 0: it has none.
func (r *Run) generation() uint64 {
	if r.Plan == nil {
		return 0
	}
	return r.Plan.Generation
}
