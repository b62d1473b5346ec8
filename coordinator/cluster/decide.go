package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config holds the times that decisions depend on.
type Config struct {
	JoinTimeout time.Duration // a run begins with fewer workers than it asks for after so long; default 60s
	StopTimeout time.Duration // a run that was asked to stop may take so long; default 5m
	Settle      time.Duration // a worker that joins is taken into a run after so long, with others that come by then; default 300ms
	Prepare     time.Duration // a worker may prepare for a run under way for so long before it is taken in; 0: it is at once; default 5m

	KeepRuns int           // so many runs that are over are kept in the state, the newest; 0: all; default 100
	KeepFor  time.Duration // and for so long; 0: for ever, the default
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{JoinTimeout: time.Minute, StopTimeout: 5 * time.Minute, Settle: 300 * time.Millisecond, Prepare: 5 * time.Minute, KeepRuns: 100}
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, x := range []struct {
		name  string
		value time.Duration
	}{{"join timeout", c.JoinTimeout}, {"stop timeout", c.StopTimeout}, {"settle", c.Settle}} {
		if x.value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %s; it must be positive", x.name, x.value))
		}
	}
	if c.Prepare < 0 {
		errs = append(errs, fmt.Errorf("prepare is %s; it must not be negative", c.Prepare))
	}
	if c.KeepRuns < 0 {
		errs = append(errs, fmt.Errorf("keep runs is %d; it must not be negative (0: all)", c.KeepRuns))
	}
	if c.KeepFor < 0 {
		errs = append(errs, fmt.Errorf("keep for is %s; it must not be negative (0: for ever)", c.KeepFor))
	}
	return errors.Join(errs...)
}

// Kind is a kind of decision.
type Kind string

// The decisions.
const (
	DoNothing Kind = "nothing" // no run is there, or all goes well
	DoWait    Kind = "wait"    // for workers, their end, or the age of a run; decide again at Decision.Until
	DoPlan    Kind = "plan"    // a new generation
	DoYield   Kind = "yield"   // the generation is to end after a step
	DoSuspend Kind = "suspend" // too few workers are left: wait for others
	DoFail    Kind = "fail"
	DoStop    Kind = "stop" // the run has stopped as it was asked to
	DoFinish  Kind = "finish"
	DoPrepare Kind = "prepare" // a worker is to prepare, before it is taken in
	DoForget  Kind = "forget"  // a run that is over leaves the state
)

// Decision is what to do.
type Decision struct {
	Kind    Kind
	Run     string    // "" when there is none
	Command Command   // apply it; nil for DoNothing and DoWait
	Until   time.Time // of DoWait
}

// Decide says what to do next, and why. It looks at the runs in the order of their submission, and decides about the
// first for which there is something to do. With nothing to do at all it says when to decide again.
func Decide(s *State, now time.Time, c Config) (Decision, string) {
	next, why := Decision{Kind: DoNothing}, "there is no run to carry"
	for i := range s.Runs {
		r := &s.Runs[i]
		if r.Phase.Over() {
			continue
		}
		decide := decideRunning
		if r.Phase == Waiting {
			decide = decideWaiting
		}
		d, reason := decide(s, r, now, c)
		if d.Command != nil {
			return d, reason
		}
		if next.Run == "" || !d.Until.IsZero() && (next.Until.IsZero() || d.Until.Before(next.Until)) {
			next, why = d, reason
		}
	}
	old, reason := s.forget(now, c)
	if old.Command != nil {
		return old, reason
	}
	if !old.Until.IsZero() && (next.Until.IsZero() || old.Until.Before(next.Until)) {
		next.Kind, next.Until = DoWait, old.Until
	}
	return next, why
}

// decideWaiting decides about a run that nobody carries.
func decideWaiting(s *State, r *Run, now time.Time, c Config) (Decision, string) {
	if r.StopAsked {
		return r.conclude(Stopped, r.Reason)
	}
	ids := s.eligible(r, now, c)
	want, least := r.MinWorkers, r.MinWorkers
	if !r.Begun {
		want = max(r.Workers, r.MinWorkers) - len(r.Losses)
		if want < least && len(ids) < least {
			return r.conclude(Failed, describe(r.Losses[0]))
		}
		want = max(want, least)
	}
	if len(ids) < want {
		until := s.waitsSince(r).Add(c.JoinTimeout)
		why := fmt.Sprintf("%d of %d workers have joined", len(ids), want)
		switch {
		case now.Before(until):
			return Decision{Kind: DoWait, Run: r.Run, Until: until}, why
		case len(ids) < least:
			return Decision{Kind: DoNothing, Run: r.Run}, fmt.Sprintf("%s; it needs %d", why, least)
		}
	}
	if a, b := s.kernels(ids); a != nil {
		return r.conclude(Failed, fmt.Sprintf("worker %s computes with %s kernels and %s with %s, "+
			"which do not give the same bits; choose one for all workers", a.ID, a.Kernel, b.ID, b.Kernel))
	}
	if a, b := s.numerics(ids); a != nil {
		return r.conclude(Failed, fmt.Sprintf("worker %s (build %s) computes with numerics %d and %s (build %s) with %d, "+
			"which do not give the same bits; upgrade one of them", a.ID, a.Build, a.Numerics, b.ID, b.Build, b.Numerics))
	}
	return s.replan(r, ids, r.spread, count(len(ids), "worker")+" to carry it")
}

// decideRunning decides about a run that workers carry.
func decideRunning(s *State, r *Run, now time.Time, c Config) (Decision, string) {
	var interrupted *Ended
	for i, e := range r.Endings {
		switch e.Outcome {
		case Failed:
			return r.conclude(Failed, fmt.Sprintf("worker %s: %s", e.Worker, e.Error))
		case Interrupted:
			interrupted = cmp.Or(interrupted, &r.Endings[i])
		}
	}
	all := len(r.Endings) == len(r.Plan.Members)
	switch {
	case all && r.done():
		return decideEnded(r)
	case len(r.Losses) > 0:
		return s.replan(r, s.eligible(r, now, c), takeOver, describe(r.Losses[0]))
	case interrupted != nil && r.Fruitless >= maxFruitless:
		return r.conclude(Failed, fmt.Sprintf("%d generations in a row broke before they had committed a step; worker %s: %s",
			r.Fruitless+1, interrupted.Worker, interrupted.Error))
	case interrupted != nil:
		return s.replan(r, s.eligible(r, now, c), takeOver, fmt.Sprintf("worker %s was interrupted: %s", interrupted.Worker, interrupted.Error))
	case all:
		return s.replan(r, s.eligible(r, now, c), r.spread, cmp.Or(r.Yielding, "the workers have ended after a step"))
	case r.Phase == Stopping:
		until := r.Since.Add(c.StopTimeout)
		if now.Before(until) {
			return Decision{Kind: DoWait, Run: r.Run, Until: until},
				fmt.Sprintf("%d of %d workers have stopped", len(r.Endings), len(r.Plan.Members))
		}
		return r.conclude(Failed, fmt.Sprintf("it did not stop within %s", c.StopTimeout))
	case r.Yielding != "":
		return Decision{Kind: DoNothing, Run: r.Run}, "the generation is to end after a step: " + r.Yielding
	}
	return decideMembers(s, r, now, c)
}

// maxFruitless bounds the generations in a row that break, without a loss, before they have committed a step.
const maxFruitless = 8

// done says whether all members have ended for good.
func (r *Run) done() bool {
	return !slices.ContainsFunc(r.Endings, func(e Ended) bool {
		return e.Outcome != Finished && (e.Outcome != Stopped || !r.StopAsked)
	})
}

// decideMembers decides whether other workers should carry a run that goes well: some of its own want to leave, or
// others have come.
func decideMembers(s *State, r *Run, now time.Time, c Config) (Decision, string) {
	ids := s.eligible(r, now, c)
	yield := func(handover bool, format string, args ...any) (Decision, string) {
		why := fmt.Sprintf(format, args...)
		y := YieldRequested{Run: r.Run, Generation: r.generation(), Reason: why, Handover: handover}
		return Decision{Kind: DoYield, Run: r.Run, Command: y}, why
	}
	for _, m := range r.Plan.Members {
		if w := s.Worker(m.Worker); w != nil && w.Leaving != "" {
			return yield(len(ids) < r.MinWorkers, "worker %s leaves: %s", w.ID, w.Leaving)
		}
	}
	var fresh []string
	var until time.Time
	for _, id := range ids {
		if w := s.Worker(id); w.Run == "" {
			fresh = append(fresh, id)
			for _, since := range []time.Time{w.Joined, w.Asked} {
				if t := since.Add(c.Settle); t.After(until) {
					until = t
				}
			}
		}
	}
	var slow time.Time // when a worker will have prepared for too long
	if c.Prepare > 0 && len(r.Plan.Members) < r.Spec.Lanes {
		var ask string
		if ask, slow = s.unprepared(r, now, c); ask != "" {
			return Decision{Kind: DoPrepare, Run: r.Run, Command: Preparing{Worker: ask, Run: r.Run}}, "before worker " + ask + " is taken in"
		}
	}
	switch {
	case len(fresh) > 0 && len(r.Plan.Members) < r.Spec.Lanes && now.Before(until):
		return Decision{Kind: DoWait, Run: r.Run, Until: until}, strings.Join(fresh, ", ") + " may come with others"
	case len(fresh) > 0 && len(r.Plan.Members) < r.Spec.Lanes:
		return yield(false, "to take in %s", strings.Join(fresh, ", "))
	case len(r.Paces) == 0 && uneven(r.Plan.Members):
		return yield(false, "to spread the lanes evenly")
	case len(r.Paces) > 0 && Uneven(r.Plan.Members, r.Paces):
		return yield(false, "to move lanes: %s", r.slowest())
	}
	if !slow.IsZero() {
		return Decision{Kind: DoWait, Run: r.Run, Until: slow}, "the workers carry the run, and others prepare for it"
	}
	return Decision{Kind: DoNothing, Run: r.Run}, "the workers carry the run"
}

// replan gives the run's lanes to workers anew, or lets it wait when there are too few.
func (s *State) replan(r *Run, ids []string, lanes func(int, []string, []Member) []Member, why string) (Decision, string) {
	if len(ids) < r.MinWorkers {
		why = fmt.Sprintf("%s; %d of %d workers are left", why, len(ids), r.MinWorkers)
		return Decision{Kind: DoSuspend, Run: r.Run, Command: Suspended{Run: r.Run, Generation: r.generation(), Reason: why}}, why
	}
	var previous []Member
	if r.Plan != nil {
		previous = r.Plan.Members
	}
	plan := Plan{Generation: s.Generation + 1, Restore: r.newest(), Members: lanes(r.Spec.Lanes, ids, previous)}
	return Decision{Kind: DoPlan, Run: r.Run, Command: Planned{Run: r.Run, Plan: plan, Reason: why}}, why
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
	if p == Stopped {
		end.Step = max(0, r.newest())
	}
	return Decision{Kind: kind, Run: r.Run, Command: end}, reason
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func describe(l Loss) string { return fmt.Sprintf("worker %s %s", l.Worker, l.Reason) }

// kernels returns two of the workers whose kernels differ, or nil.
func (s *State) kernels(ids []string) (a, b *Worker) {
	return s.differ(ids, func(a, b *Worker) bool { return a.Kernel != b.Kernel })
}

// numerics returns two of the workers whose builds compute other bits, or nil.
func (s *State) numerics(ids []string) (a, b *Worker) {
	return s.differ(ids, func(a, b *Worker) bool { return a.Numerics != b.Numerics })
}

func (s *State) differ(ids []string, in func(a, b *Worker) bool) (a, b *Worker) {
	for _, id := range ids[1:] {
		if a, b := s.Worker(ids[0]), s.Worker(id); in(a, b) {
			return a, b
		}
	}
	return nil, nil
}
