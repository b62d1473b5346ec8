package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Config holds the times that decisions depend on.
type Config struct {
	JoinTimeout time.Duration // a run whose turn it is waits so long for its workers; default 60s
	StopTimeout time.Duration // a run that was asked to stop may take so long; default 5m
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{JoinTimeout: time.Minute, StopTimeout: 5 * time.Minute} }

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, x := range []struct {
		name  string
		value time.Duration
	}{{"join timeout", c.JoinTimeout}, {"stop timeout", c.StopTimeout}} {
		if x.value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s; it must be positive", x.name, x.value))
		}
	}
	return errors.Join(errs...)
}

// Kind is a kind of decision.
type Kind string

// The decisions.
const (
	DoNothing Kind = "nothing" // no run is there, or all goes well
	DoWait    Kind = "wait"    // for workers or their end; decide again at Decision.Until
	DoPlan    Kind = "plan"    // a new generation
	DoFail    Kind = "fail"
	DoStop    Kind = "stop" // the run has stopped as it was asked to
	DoFinish  Kind = "finish"
)

// Decision is what to do.
type Decision struct {
	Kind    Kind
	Run     string    // "" when there is none
	Command Command   // apply it; nil for DoNothing and DoWait
	Until   time.Time // of DoWait
}

// Decide says what to do about the active run, and why.
func Decide(s *State, now time.Time, c Config) (Decision, string) {
	r := s.Active()
	switch {
	case r == nil:
		return Decision{Kind: DoNothing}, "there is no run to carry"
	case r.Phase == Waiting:
		return decideWaiting(s, r, now, c)
	}
	return decideRunning(r, now, c)
}

// decideWaiting decides about a run whose workers do not carry it yet.
func decideWaiting(s *State, r *Run, now time.Time, c Config) (Decision, string) {
	if r.StopAsked {
		return r.conclude(Stopped, r.Reason)
	}
	free := s.free(r)
	missing := r.MinWorkers - len(free)
	switch {
	case missing > 0 && len(r.Losses) > 0:
		return r.conclude(Failed, describe(r.Losses[0]))
	case missing > 0:
		until := s.ActiveSince.Add(c.JoinTimeout)
		if now.Before(until) {
			return Decision{Kind: DoWait, Run: r.Run, Until: until},
				fmt.Sprintf("%d of %d workers have joined", len(free), r.MinWorkers)
		}
		return r.conclude(Failed, fmt.Sprintf("only %d of %d workers came within %s; "+
			"look at what the others have logged, or ask for fewer", len(free), r.MinWorkers, c.JoinTimeout))
	}
	if a, b := s.kernels(free); a != nil {
		return r.conclude(Failed, fmt.Sprintf("worker %s computes with %s kernels and %s with %s, "+
			"which do not give the same bits; choose one for all workers", a.ID, a.Kernel, b.ID, b.Kernel))
	}
	var previous []Member
	if r.Plan != nil {
		previous = r.Plan.Members
	}
	plan := Plan{
		Generation: s.Generation + 1, Restore: r.Restore, Members: planLanes(r.Spec.Lanes, free, previous),
	}
	return Decision{Kind: DoPlan, Run: r.Run, Command: Planned{Run: r.Run, Plan: plan}},
		count(len(free), "worker") + " to carry it"
}

// decideRunning decides about a run that workers carry.
func decideRunning(r *Run, now time.Time, c Config) (Decision, string) {
	if len(r.Losses) > 0 { // before failures: it is what makes others fail
		return r.conclude(Failed, fmt.Sprintf("%s, after step %d", describe(r.Losses[0]), r.Position))
	}
	for _, e := range r.Endings {
		if e.Outcome == Failed {
			return r.conclude(Failed, fmt.Sprintf("worker %s: %s", e.Worker, e.Error))
		}
	}
	if len(r.Endings) == len(r.Plan.Members) {
		return decideEnded(r)
	}
	if r.Phase == Stopping {
		until := r.Since.Add(c.StopTimeout)
		if now.Before(until) {
			return Decision{Kind: DoWait, Run: r.Run, Until: until},
				fmt.Sprintf("%d of %d workers have stopped", len(r.Endings), len(r.Plan.Members))
		}
		return r.conclude(Failed, fmt.Sprintf("it did not stop within %s", c.StopTimeout))
	}
	return Decision{Kind: DoNothing, Run: r.Run}, "the workers carry the run"
}

// decideEnded decides about a run whose members have all ended without a failure. They must have ended in the same
// way, after the same step, with the same weights.
func decideEnded(r *Run) (Decision, string) {
	first := r.Endings[0]
	for _, e := range r.Endings[1:] {
		if e.Outcome != first.Outcome || e.Step != first.Step || e.Weights != first.Weights {
			return r.conclude(Failed, fmt.Sprintf("the workers disagree: %s is %s after step %d with weights %.12s, "+
				"%s is %s after step %d with weights %.12s", first.Worker, first.Outcome, first.Step, first.Weights,
				e.Worker, e.Outcome, e.Step, e.Weights))
		}
	}
	reason := ""
	if first.Outcome == Stopped {
		reason = r.Reason
	}
	d, why := r.conclude(first.Outcome, reason)
	end := d.Command.(Concluded)
	end.Weights, end.Step = first.Weights, first.Step
	d.Command = end
	return d, cmp.Or(why, "all workers have done their part")
}

func (r *Run) conclude(p Phase, reason string) (Decision, string) {
	kind := map[Phase]Kind{Failed: DoFail, Stopped: DoStop, Finished: DoFinish}[p]
	end := Concluded{Run: r.Run, Generation: r.generation(), Phase: p, Reason: reason}
	return Decision{Kind: kind, Run: r.Run, Command: end}, reason
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func describe(l Loss) string {
	if l.Worker == "" {
		return l.Reason
	}
	return fmt.Sprintf("worker %s was lost: %s", l.Worker, l.Reason)
}

// free returns the workers that carry nothing, by the rank that they had in the run's previous plan, the others behind
// them by id.
func (s *State) free(r *Run) []string {
	var ids []string
	for _, w := range s.Workers {
		if w.Run == "" {
			ids = append(ids, w.ID)
		}
	}
	rank := func(id string) int {
		if r.Plan != nil {
			if i := r.Plan.Rank(id); i >= 0 {
				return i
			}
		}
		return math.MaxInt
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return ids[:min(len(ids), maxMembers)]
}

// maxMembers is the largest ring (allreduce.MaxSize); more workers wait for another run.
const maxMembers = 1024

// kernels returns two of the workers whose kernels differ, or nil.
func (s *State) kernels(ids []string) (a, b *Worker) {
	for _, id := range ids[1:] {
		if a, b := s.Worker(ids[0]), s.Worker(id); a.Kernel != b.Kernel {
			return a, b
		}
	}
	return nil, nil
}
