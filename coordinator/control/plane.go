package control

import (
	"fmt"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
	"pupil/internal/hostport"
)

// plane is the way of the sums of a run's newest generation: that of the configuration. With wire.AutoPlane it is a mesh if
// all members can reach each other's servers, as far as their addresses tell. It follows from the log's state.
func (s *Service) plane(r *cluster.Run) wire.DataPlane {
	if s.config.DataPlane != wire.AutoPlane {
		return s.config.DataPlane
	}
	if s.apart(r) != "" {
		return wire.BrokerPlane
	}
	return wire.MeshPlane
}

// apart says why the members of a run's newest plan can be no mesh; "": they can.
func (s *Service) apart(r *cluster.Run) string {
	var here *cluster.Worker // one that others on its host alone reach
	hosts := map[string]bool{}
	for _, m := range r.Plan.Members {
		w := s.state.Worker(m.Worker)
		if w == nil {
			continue // another plan follows
		}
		if wire.MeshPlane.Fits(w.RingAddress, w.RingKey) != nil {
			return fmt.Sprintf("worker %s does not listen for the others (--ring-listen)", w.ID)
		}
		if hosts[w.Host] = true; hostport.Loopback(w.RingAddress) {
			here = w
		}
	}
	if here != nil && len(hosts) > 1 {
		return fmt.Sprintf("worker %s listens for the others on %s, which other hosts do not reach (--ring-listen, --ring-advertise)",
			here.ID, here.RingAddress)
	}
	return ""
}

// tellPlane puts into the events that a generation's sums go over the brokers, where they should not.
func (s *Service) tellPlane(r *cluster.Run) {
	if s.config.DataPlane != wire.AutoPlane || len(r.Plan.Members) < 2 {
		return
	}
	why := s.apart(r)
	if why == "" {
		return
	}
	text := "the sums go over the coordinators' brokers, and would stand still without them: " + why
	s.logger.Warn(text, "job", r.Run, "generation", r.Plan.Generation)
	_ = s.apply(cluster.Noticed{ // refused only if the generation is over
		Worker: r.Plan.Members[0].Worker, Run: r.Run, Generation: r.Plan.Generation, Text: wire.Clip(text),
	})
}
