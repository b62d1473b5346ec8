package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// order pushes a worker's order when it has changed.
func (s *Service) order(worker string) {
	l := s.leases[worker]
	if o := s.state.Order(worker); o != l.told {
		s.give(worker, l, o)
	}
}

// give pushes an order. A worker that has missed the plan, which a Pause or a Stop speaks of, gets it first.
func (s *Service) give(worker string, l *lease, o cluster.Order) {
	fresh := o.Generation != l.told.Generation
	before := l.told
	l.told, l.toldAt = o, time.Now()
	if o.Instruction == cluster.Ready {
		r := s.state.Run(o.Run)
		s.push(l.subject, wire.Prepare{
			Run: r.Run, Spec: r.Spec, Digest: r.Digest, Storage: r.Storage, Lanes: r.Share(),
		})
	}
	if o.Instruction == cluster.Rest || o.Instruction == cluster.Ready {
		if before.Instruction != cluster.Rest && before.Instruction != cluster.Ready {
			l.letGo = s.letGo(before)
		}
		if last := max(before.Generation, l.beat.Generation); last > 0 {
			s.push(l.subject, wire.Abort{Generation: last, Reason: l.letGo})
		}
		return
	}
	if fresh || l.beat.Generation < o.Generation {
		p, err := s.plan(s.state.Run(o.Run), worker)
		if err != nil {
			s.logger.Error("a plan that cannot be given now", "worker", worker, "job", o.Run, "err", err)
			return
		}
		s.push(l.subject, p)
	}
	switch o.Instruction {
	case cluster.Pause:
		s.push(l.subject, wire.Pause{Generation: o.Generation, Reason: wire.Clip(o.Reason)})
	case cluster.Halt:
		s.push(l.subject, wire.Stop{Generation: o.Generation, Reason: wire.Clip(o.Reason)})
	}
}

// letGo says why a worker has nothing to carry any more.
func (s *Service) letGo(before cluster.Order) string {
	r := s.state.Run(before.Run)
	switch {
	case r == nil:
		return "the coordinator knows of nothing to carry"
	case r.Phase.Over() || r.Phase == cluster.Waiting:
		reason := fmt.Sprintf("the run is %s", r.Phase)
		if r.Reason != "" {
			reason += ": " + r.Reason
		}
		return wire.Clip(reason)
	}
	return fmt.Sprintf("generation %d goes on without it", r.Plan.Generation)
}

// prepares says whether a worker was asked to prepare and has not answered yet.
func (s *Service) prepares(worker string) bool {
	w := s.state.Worker(worker)
	return w != nil && s.state.Order(worker).Instruction == cluster.Ready && !w.Prepared && w.Unfit != w.Preparing
}

// followed says whether a heartbeat shows that the worker has heard its order.
func followed(o cluster.Order, m wire.Heartbeat) bool {
	switch o.Instruction {
	case cluster.Rest, cluster.Ready:
		return m.Activity == wire.Idle
	case cluster.Train:
		return m.Generation >= o.Generation
	}
	return m.Generation >= o.Generation && m.Activity != wire.Training
}

// plan is the message for the worker of a rank.
func plan(r *cluster.Run, rank int, deadline time.Duration) wire.Plan {
	p := wire.Plan{
		Generation: r.Plan.Generation, Run: r.Run, Spec: r.Spec, Digest: r.Digest, Storage: r.Storage, Rank: rank,
		LaneCount: r.Spec.Lanes, RestoreStep: r.Plan.Restore, RingPrefix: wire.RingPrefix(r.Run), Deadline: deadline,
	}
	for _, m := range r.Plan.Members {
		p.Members = append(p.Members, wire.Member{ID: m.Worker, Lanes: m.Lanes})
	}
	return p
}

// report takes rank 0's word of a committed step. Those of others, and of generations that are over, are dropped.
func (s *Service) report(m wire.Report) {
	came := time.Now()
	r := s.state.Run(m.Run)
	if r == nil || r.Phase.Over() || r.Phase == cluster.Waiting || r.Plan.Generation != m.Generation ||
		r.Plan.Members[0].Worker != m.Worker {
		return
	}
	p := s.progress[m.Run]
	if p == nil || p.report.Generation != m.Generation {
		p = &progress{}
		s.progress[m.Run] = p
	} else if m.Step <= p.report.Step {
		return
	}
	p.report = &m
	if s.config.OnReport != nil {
		s.config.OnReport(m)
	}
	if time.Since(p.at) >= s.config.CommitInterval {
		s.flush(p)
	}
	s.publish()
	if s.config.OnCommitted != nil {
		s.config.OnCommitted(r, m, came)
	}
}

// flushProgress lets the log know what ranks 0 have reported.
func (s *Service) flushProgress() {
	for _, name := range slices.Sorted(maps.Keys(s.progress)) {
		if s.state.Run(name) == nil { // it was forgotten
			delete(s.progress, name)
			delete(s.meshes, name)
			continue
		}
		s.flush(s.progress[name])
	}
}

func (s *Service) flush(p *progress) {
	if p.report.Step == p.written {
		return
	}
	p.written, p.at = p.report.Step, time.Now()
	c := cluster.Committed{Run: p.report.Run, Generation: p.report.Generation, Step: p.report.Step}
	if err := s.apply(c); err != nil {
		s.logger.Debug("progress of a generation that is over", "job", c.Run, "generation", c.Generation, "err", err)
	}
}
