package cluster

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxMembers is the largest ring (allreduce.MaxSize); more workers wait for another run.
const maxMembers = 1024

// limit is the most workers that a run takes. More than it has lanes would have nothing to do.
func (r *Run) limit() int {
	if r.MaxWorkers > 0 {
		return min(r.MaxWorkers, maxMembers)
	}
	return min(max(r.Spec.Lanes, r.Workers, r.MinWorkers), maxMembers)
}

// waitsSince is when a waiting run began to wait for workers, as far as it can be held against these.
func (s *State) waitsSince(r *Run) time.Time {
	if s.ActiveSince.After(r.Since) {
		return s.ActiveSince
	}
	return r.Since
}

// eligible returns the workers that can carry a run, as many as it takes: its members and those that carry nothing and
// that no earlier run takes, without those that want to leave, those with other kernels and, when others carry the run, those that are not prepared; by the rank that they had in
// the run's previous plan, the others behind them by id.
func (s *State) eligible(r *Run, now time.Time, c Config) []string {
	own, free := s.candidates(r, s.claimed(r, now, c))
	if r.Phase != Waiting && len(own) >= r.MinWorkers {
		free = slices.DeleteFunc(free, func(id string) bool { return !s.Worker(id).ready(r, now, c) })
	}
	ids := append(own, free...)
	rank := func(id string) int {
		if r.Plan != nil {
			if i := r.Plan.Rank(id); i >= 0 {
				return i
			}
		}
		return math.MaxInt
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	return ids[:min(len(ids), max(r.limit(), len(own)))]
}

// candidates are the workers that carry a run, and those without one that could, but for those that are claimed.
func (s *State) candidates(r *Run, claimed map[string]bool) (own, free []string) {
	for _, w := range s.Workers {
		switch {
		case w.Leaving != "" || r.Begun && (w.Kernel != r.Kernel || w.Numerics != r.Numerics) || w.Unfit == r.Run && w.Run != r.Run:
		case w.Run == r.Run:
			own = append(own, w.ID)
		case w.Run == "" && !claimed[w.ID]:
			free = append(free, w.ID)
		}
	}
	return own, free
}

// claimed are the workers without a run that earlier runs take. A run that does not find as many as it needs holds those
// that there are for the join timeout; then later ones may have them.
func (s *State) claimed(r *Run, now time.Time, c Config) map[string]bool {
	claimed := map[string]bool{}
	for i := range s.Runs {
		earlier := &s.Runs[i]
		if earlier.Run == r.Run {
			break
		}
		if earlier.Phase.Over() || earlier.StopAsked {
			continue
		}
		own, free := s.candidates(earlier, claimed)
		waits := len(own)+len(free) < earlier.MinWorkers
		if waits && !now.Before(s.waitsSince(earlier).Add(c.JoinTimeout)) {
			continue
		}
		for _, id := range free[:max(0, min(len(free), earlier.limit()-len(own)))] {
			claimed[id] = true
		}
	}
	return claimed
}
