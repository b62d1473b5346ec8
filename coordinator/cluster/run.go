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
	s.pass(at, &s.Runs[len(s.Runs)-1])
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
	case c.MaxWorkers < 0 || c.MaxWorkers > 0 && c.MaxWorkers < max(c.MinWorkers, c.Workers):
		return refuse(ErrRefused, "run %s takes %d workers at most; it asks for %d and needs %d", c.Run, c.MaxWorkers, c.Workers, c.MinWorkers)
	case c.Workers < 0:
		return refuse(ErrRefused, "run %s waits for %d workers", c.Run, c.Workers)
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
	next.Begun, next.Kernel, next.Yielding, next.Handover, next.Fruitless = false, "", "", false, 0
	next.Paces = nil
	kept := slices.IndexFunc(r.Checkpoints, func(step int) bool { return step > c.Restore })
	if kept >= 0 { // newer ones are not whole, or the user will not have them
		next.Checkpoints = slices.Clone(r.Checkpoints[:kept])
	}
	s.pass(at, &next)
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

// Planned gives a run's lanes to workers: a new generation, at the run's beginning or in place of another one. Decide
// makes it.
type Planned struct {
	Run    string `json:"run"`
	Plan   Plan   `json:"plan"`
	Reason string `json:"reason"`
}

func (Planned) kind() string { return "planned" }

func (c Planned) apply(s *State, at time.Time) error {
	r := s.Run(c.Run)
	switch {
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	case r.Phase.Over():
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case c.Plan.Generation != s.Generation+1:
		return refuse(ErrStale, "a plan of generation %d, when %d is due", c.Plan.Generation, s.Generation+1)
	case len(c.Plan.Members) == 0 || len(c.Plan.Members) > maxMembers:
		return refuse(ErrRefused, "a plan of %d workers", len(c.Plan.Members))
	}
	for _, m := range c.Plan.Members {
		if w := s.Worker(m.Worker); w == nil || w.Run != "" && w.Run != r.Run {
			return refuse(ErrRefused, "worker %s is not free", m.Worker)
		}
	}
	if err := checkLanes(r.Spec.Lanes, c.Plan.Members); err != nil {
		return refuse(ErrRefused, "%v", err)
	}
	text := fmt.Sprintf("generation %d: %s on %s", c.Plan.Generation,
		count(r.Spec.Lanes, "lane"), count(len(c.Plan.Members), "worker"))
	if r.Plan != nil && r.Begun {
		text += fmt.Sprintf(", %d of them moved", moved(r.Plan.Members, c.Plan.Members))
	}
	r.plan(c.Plan, at)
	s.Generation = c.Plan.Generation
	s.free(r.Run, c.Plan.Members)
	for _, m := range c.Plan.Members {
		w := s.Worker(m.Worker)
		w.Run, w.Generation, w.Done = r.Run, c.Plan.Generation, false
		r.Kernel, r.Numerics = w.Kernel, w.Numerics
	}
	s.event(at, r.Run, "", "%s: %s", text, c.Reason)
	return nil
}

// plan replaces the run's plan.
func (r *Run) plan(p Plan, at time.Time) {
	if r.Begun && len(r.Spans) > 0 && r.Spans[len(r.Spans)-1].Generation == r.generation() &&
		r.Spans[len(r.Spans)-1].From < r.Position {
		r.Fruitless = 0
	} else if r.Begun {
		r.Fruitless++
	}
	if !r.Begun {
		r.Position = max(0, p.Restore)
	}
	r.Plan, r.Losses, r.Endings = &p, nil, nil
	r.Begun, r.Yielding, r.Handover = true, "", false
	if r.Phase == Waiting {
		r.enter(Running, "", at)
	}
}

// Began says that the workers of a generation have found their common step. The worker of rank 0 tells it, and each
// one that has taken the state from elsewhere.
type Began struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"` // committed
	From       string `json:"from"` // where the worker has the state from; "": it had it
}

func (Began) kind() string { return "began" }

func (c Began) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	switch {
	case err != nil:
		return err
	case r.Phase.Over() || r.Phase == Waiting:
		return refuse(ErrStale, "run %s is %s", c.Run, r.Phase)
	case c.Step < 0:
		return refuse(ErrRefused, "a generation that begins after step %d", c.Step)
	case r.Plan.Rank(c.Worker) < 0:
		return refuse(ErrStale, "worker %s is no member of generation %d", c.Worker, c.Generation)
	}
	if r.Plan.Rank(c.Worker) == 0 && r.begin(c.Generation, c.Step) {
		s.event(at, r.Run, "", "generation %d goes on after step %d", c.Generation, c.Step)
	}
	if c.From != "" {
		s.event(at, r.Run, c.Worker, "has the state of step %d from %s", c.Step, c.From)
	}
	return nil
}

// begin opens the generation's span of the ledger. It says whether it was not open already.
func (r *Run) begin(generation uint64, step int) bool {
	if n := len(r.Spans); n > 0 && r.Spans[n-1].Generation == generation {
		return false
	}
	// What was committed after the step is not on the way any more; what was not told of is.
	r.Spans = slices.DeleteFunc(r.Spans, func(s Span) bool { return s.From >= step })
	if n := len(r.Spans); n > 0 {
		r.Spans[n-1].To = step
	}
	r.Spans = append(r.Spans, Span{Generation: generation, From: step, To: step})
	if len(r.Spans) > maxSpans {
		r.Spans[1].From = r.Spans[0].From
		r.Spans = slices.Delete(r.Spans, 0, 1)
	}
	r.Position = step
	r.Committed = max(r.Committed, step)
	return true
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
	if n := len(r.Spans); n > 0 && r.Spans[n-1].Generation == r.generation() {
		r.Spans[n-1].To = max(r.Spans[n-1].To, step)
	}
}

// Checkpointed says that a generation has saved a whole checkpoint. It may be one that is over: every step is the same
// wherever it was made.
type Checkpointed struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

func (Checkpointed) kind() string { return "checkpointed" }

func (c Checkpointed) apply(s *State, at time.Time) error {
	r := s.Run(c.Run)
	switch {
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	case c.Generation == 0 || c.Generation > r.generation():
		return refuse(ErrStale, "run %s has had no generation %d", c.Run, c.Generation)
	case c.Step < 0:
		return refuse(ErrRefused, "a checkpoint of step %d", c.Step)
	case c.Generation == r.generation():
		r.commit(c.Step)
	}
	i, found := slices.BinarySearch(r.Checkpoints, c.Step)
	if found {
		return nil
	}
	r.Checkpoints = slices.Insert(r.Checkpoints, i, c.Step)
	if n := len(r.Checkpoints) - maxCheckpoints; n > 0 {
		r.Checkpoints = slices.Delete(r.Checkpoints, 0, n)
	}
	s.event(at, r.Run, "", checkpointEvent, c.Step)
	return nil
}

// Ended says how a member's part of a generation ended. Only the first one counts.
type Ended struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Outcome    Phase  `json:"outcome"` // Finished, Stopped, Failed, Yielded or Interrupted
	Step       int    `json:"step"`    // committed steps
	Error      string `json:"error"`   // of a failure or an interruption
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
	case !c.Outcome.Over() && c.Outcome != Yielded && c.Outcome != Interrupted:
		return refuse(ErrRefused, "a part cannot end as %q", c.Outcome)
	case r.ending(c.Worker) != nil:
		return nil
	}
	r.Endings = append(r.Endings, c)
	if w := s.Worker(c.Worker); w != nil && w.Generation == c.Generation {
		w.Done = true
	}
	if c.Outcome == Failed || c.Outcome == Interrupted {
		s.event(at, r.Run, c.Worker, "%s: %s", c.Outcome, c.Error)
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

// YieldRequested asks a generation to end after a step, so that another one takes in workers that have come, or goes on
// without some that want to leave. Decide makes it.
type YieldRequested struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason"`
	Handover   bool   `json:"handover"` // save a checkpoint: nobody is there to take over
}

func (YieldRequested) kind() string { return "yield_requested" }

func (c YieldRequested) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	switch {
	case err != nil:
		return err
	case r.Phase != Running:
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case c.Reason == "":
		return refuse(ErrRefused, "generation %d shall end for no reason", c.Generation)
	}
	r.Yielding, r.Handover = c.Reason, c.Handover
	s.event(at, r.Run, "", "generation %d is to end after a step: %s", c.Generation, c.Reason)
	return nil
}

// Suspended lets a run wait for workers. Decide makes it.
type Suspended struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"` // of the run's newest plan
	Reason     string `json:"reason"`
}

func (Suspended) kind() string { return "suspended" }

func (c Suspended) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	switch {
	case err != nil:
		return err
	case r.Phase != Running && r.Phase != Stopping:
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	}
	s.suspend(r, c.Reason, at)
	return nil
}

func (s *State) suspend(r *Run, reason string, at time.Time) {
	s.free(r.Run, nil)
	r.Losses, r.Endings, r.Yielding, r.Handover = nil, nil, "", false
	if !r.StopAsked { // else the reason is that of the stop
		r.Reason = reason
	}
	r.enter(Waiting, r.Reason, at)
	s.event(at, r.Run, "", "waits for workers: %s", reason)
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
	r.Yielding, r.Handover = "", false
	s.free(r.Run, nil)
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

// newest is the step of the newest checkpoint to restore from, or -1.
func (r *Run) newest() int {
	if n := len(r.Checkpoints); n > 0 {
		return max(r.Restore, r.Checkpoints[n-1])
	}
	return r.Restore
}

// generation is that of the run's newest plan; 0: it has none.
func (r *Run) generation() uint64 {
	if r.Plan == nil {
		return 0
	}
	return r.Plan.Generation
}
