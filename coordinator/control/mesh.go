package control

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"pupil/coordinator/authority"
	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// meshes holds what was issued for the newest generation of a run, by rank. A coordinator that takes over issues anew, from the
// same secret: so it does not matter of which one a worker has heard.
type meshes struct {
	generation uint64
	ranks      []*wire.Mesh
}

// plan is the message for a member of a run's plan. Without an error it can be sent.
func (s *Service) plan(r *cluster.Run, worker string) (wire.Plan, error) {
	rank := r.Plan.Rank(worker)
	p := plan(r, rank, s.config.RingDeadline)
	plane := s.plane(r)
	if plane == wire.BrokerPlane || len(p.Members) == 1 {
		if users := s.config.Broker.Users(); !users.Shared {
			a := users.RingAccess(r.Run, p.Generation, rank, time.Time{}) // of no use after the generation
			p.Ring = &a
		}
		return p, nil
	}
	if s.meshes[r.Run].generation != p.Generation {
		ranks, err := s.issue(r, plane)
		if err != nil {
			return p, err
		}
		s.meshes[r.Run] = meshes{p.Generation, ranks}
	}
	p.Mesh = s.meshes[r.Run].ranks[rank]
	return p, nil
}

// secret is that of a generation's authority: coordinators of a cluster know the same, and no other cluster, run or generation
// has it again.
func (s *Service) secret(r *cluster.Run) []byte {
	h := hmac.New(sha256.New, []byte(s.config.Broker.Users().Coordinator))
	fmt.Fprintf(h, "mesh %s %d %d", r.Run, r.Submitted.UnixNano(), r.Plan.Generation)
	return h.Sum(nil)
}

// issue makes the credentials of a run's newest generation.
func (s *Service) issue(r *cluster.Run, plane wire.DataPlane) ([]*wire.Mesh, error) {
	p := r.Plan
	a, err := authority.New(s.secret(r), p.Generation, time.Now())
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
		if err := plane.Fits(w.RingAddress, w.RingKey); err != nil { // another coordinator has taken it in
			_ = s.lose(w.ID, w.Session, err.Error()) // refused only if it has gone already
			return nil, fmt.Errorf("worker %s: %w", w.ID, err)
		}
		peers[rank] = wire.MeshPeer{Address: w.RingAddress, Name: a.Name(rank)}
		ranks[rank] = &wire.Mesh{Peers: peers, Password: a.Password()}
		if plane == wire.LocalPlane {
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
