package cluster

import (
	"fmt"
	"slices"
	"time"
)

// Forgotten takes a run that is over out of the state, so that this does not grow for ever. What the run has stored stays. Decide
// makes it.
type Forgotten struct {
	Run    string `json:"run"`
	Reason string `json:"reason"`
}

func (Forgotten) kind() string { return "forgotten" }

func (c Forgotten) apply(s *State, at time.Time) error {
	i := slices.IndexFunc(s.Runs, func(r Run) bool { return r.Run == c.Run })
	if i < 0 {
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	}
	r := s.Runs[i]
	switch {
	case !r.Phase.Over():
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case slices.ContainsFunc(s.Workers, func(w Worker) bool { return w.Run == c.Run }):
		return refuse(ErrRefused, "workers still carry run %s", c.Run)
	}
	s.Runs = slices.Delete(s.Runs, i, i+1)
	s.event(at, c.Run, "", "forgotten, it was %s: %s; what it has stored stays in %s", r.Phase, c.Reason, r.Storage)
	return nil
}

// forget decides about the run that is over for the longest: whether there are more such runs than are kept, or it is older. With
// nothing to forget now it says when there may be.
func (s *State) forget(now time.Time, c Config) (Decision, string) {
	var oldest *Run
	over := 0
	for i := range s.Runs {
		if r := &s.Runs[i]; r.Phase.Over() {
			if over++; oldest == nil || r.Since.Before(oldest.Since) {
				oldest = r
			}
		}
	}
	why := ""
	switch {
	case c.KeepRuns > 0 && over > c.KeepRuns:
		why = fmt.Sprintf("of those that are over the newest %d stay", c.KeepRuns)
	case oldest != nil && c.KeepFor > 0 && !now.Before(oldest.Since.Add(c.KeepFor)):
		why = fmt.Sprintf("those that are over stay for %s", c.KeepFor)
	case oldest != nil && c.KeepFor > 0:
		return Decision{Kind: DoNothing, Until: oldest.Since.Add(c.KeepFor)}, ""
	default:
		return Decision{Kind: DoNothing}, ""
	}
	return Decision{Kind: DoForget, Run: oldest.Run, Command: Forgotten{Run: oldest.Run, Reason: why}}, why
}
