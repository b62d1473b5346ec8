package control

import (
	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// window is the number of steps over which a worker's pace is measured: short enough to notice a neighbour that takes the
// processor away, and long enough that one slow step moves no lanes.
const window = 16

// mark is where a window began.
type mark struct {
	generation uint64
	timed      int
	compute    float64 // seconds
}

// measure tells the log when some members of a run are so slow that lanes should move. It looks at a member's heartbeat
// once a window's steps are over on all of them.
func (s *Service) measure(worker string) {
	w := s.state.Worker(worker)
	if w == nil || w.Run == "" {
		return
	}
	r := s.state.Run(w.Run)
	if r.Phase != cluster.Running || r.Yielding != "" || len(r.Plan.Members) < 2 {
		return
	}
	paces, over := s.paces(r)
	if !over {
		return
	}
	for _, m := range r.Plan.Members {
		s.leases[m.Worker].mark = markOf(s.leases[m.Worker].beat)
	}
	if !cluster.Uneven(r.Plan.Members, paces) {
		return
	}
	if err := s.apply(cluster.Measured{Run: r.Run, Generation: r.Plan.Generation, Paces: paces}); err != nil {
		s.logger.Debug("paces of a generation that is over", "job", r.Run, "err", err)
	}
}

// paces are those of a run's members over the window, once it is over on all of them. Members without lanes have none.
func (s *Service) paces(r *cluster.Run) (paces []cluster.Pace, over bool) {
	over = true
	for _, m := range r.Plan.Members {
		l, w := s.leases[m.Worker], s.state.Worker(m.Worker)
		if l == nil || w == nil || l.beat.Generation != r.Plan.Generation {
			return nil, false
		}
		if l.mark.generation != r.Plan.Generation {
			l.mark = markOf(l.beat)
		}
		steps := l.beat.Timed - l.mark.timed
		over = over && steps >= window
		lanes := len(m.Lanes)
		if compute := l.beat.Total.Compute - l.mark.compute; over && lanes > 0 && compute > 0 {
			together := min(lanes, max(1, w.Threads)) // that it computes at the same time
			paces = append(paces, cluster.Pace{Worker: m.Worker, Seconds: compute / float64(steps*lanes*together)})
		}
	}
	return paces, over && len(paces) > 1
}

func markOf(b wire.Heartbeat) mark {
	return mark{generation: b.Generation, timed: b.Timed, compute: b.Total.Compute}
}
