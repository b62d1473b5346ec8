package control

import (
	"encoding/hex"
	"fmt"
	"time"

	"pupil/coordinator/authority"
	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// meshes holds what was issued for the newest generation of a run, by rank. Nobody else has it: a coordinator that takes
// over issues anew, and should some workers of a generation have heard the one and some the other, they do not connect, and
// the generation ends.
type meshes struct {
	generation uint64
	ranks      []*wire.Mesh
}

// plan is the message for a member of a run's plan. Without an error it can be sent.
func (s *Service) plan(r *cluster.Run, worker string) (wire.Plan, error) {
	rank := r.Plan.Rank(worker)
	p := plan(r, rank, s.config.RingDeadline)
	if s.config.DataPlane == wire.BrokerPlane || len(p.Members) == 1 {
		if users := s.config.Broker.Users(); !users.Shared {
			a := users.RingAccess(r.Run, p.Generation, rank, time.Time{}) // of no use after the generation
			p.Ring = &a
		}
		return p, nil
	}
	if s.meshes[r.Run].generation != p.Generation {
		ranks, err := s.issue(r.Plan)
		if err != nil {
			return p, err
		}
		s.meshes[r.Run] = meshes{p.Generation, ranks}
	}
	p.Mesh = s.meshes[r.Run].ranks[rank]
	return p, nil
}

// issue makes the credentials of a generation.
func (s *Service) issue(p *cluster.Plan) ([]*wire.Mesh, error) {
	a, err := authority.New(p.Generation, time.Now())
	if err != nil {
		return nil, err
	}
	peers := make([]wire.MeshPeer, len(p.Members))
	ranks := make([]*wire.Mesh, len(p.Members))
	for rank, m := range p.Members {
		w := s.state.Worker(m.Worker)
		if w == nil {
			return nil, fmt.Errorf("worker %s is gone; another plan follows", m.Worker)
		}
		if err := s.config.DataPlane.Fits(w.RingAddress, w.RingKey); err != nil { // another coordinator has taken it in
			_ = s.lose(w.ID, w.Session, err.Error()) // refused only if it has gone already
			return nil, fmt.Errorf("worker %s: %w", w.ID, err)
		}
		peers[rank] = wire.MeshPeer{Address: w.RingAddress, Name: a.Name(rank)}
		ranks[rank] = &wire.Mesh{Peers: peers, Password: a.Password()}
		if s.config.DataPlane == wire.LocalPlane {
			continue
		}
		key, err := hex.DecodeString(w.RingKey)
		if err != nil {
			return nil, fmt.Errorf("key of worker %s: %w", m.Worker, err)
		}
		certificate, err := a.Issue(rank, key)
		if err != nil {
			return nil, fmt.Errorf("worker %s: %w", m.Worker, err)
		}
		ranks[rank].Authority, ranks[rank].Certificate = a.Certificate(), certificate
	}
	return ranks, nil
}
