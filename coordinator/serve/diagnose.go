package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/internal/diagnose"
)

// describe answers with what this coordinator is, whether it leads or not.
func (s *server) describe(w http.ResponseWriter, _ *http.Request) {
	c := s.config
	d := api.Diagnosis{
		ID: c.ID, Process: diagnose.Read("coordinator", ""), Leads: s.service.Load() != nil, Term: s.log.Term(),
		Members: []api.Member{},
		Settings: map[string]any{
			"data": c.Folder, "listen": c.Listen, "raft": c.Raft, "advertise": c.Advertise, "join": c.Join, "tls": c.TLS != nil,
			"insecure": c.Insecure, "broker": c.Broker.URL(), "storage": c.Storage, "worker_timeout": c.Timeout.String(),
			"election_timeout": c.Election.String(), "data_plane": c.DataPlane, "metrics_listen": c.Metrics.Listen,
		},
	}
	if b, ok := c.Broker.(*control.Broker); ok {
		d.Settings["brokers_reached"] = b.Peers()
	}
	if err := s.isReady(); err != nil {
		d.Trouble = err.Error()
	}
	leader, _ := s.log.Leader()
	d.Leader = leader.ID
	if members, err := s.log.Members(); err == nil { // else the log is being closed
		for _, m := range members {
			d.Members = append(d.Members, api.Member{ID: m.ID, Address: m.Address, Leader: m.ID == leader.ID})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d) // else the other side has gone
}

// inspectTime is how long a worker may take to describe itself.
const inspectTime = 5 * time.Second

// inspect asks a worker to describe its process.
func (s *server) inspect(r *http.Request, leader *control.Service) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), inspectTime)
	defer cancel()
	report, err := leader.Inspect(ctx, r.PathValue("worker"))
	if err != nil {
		return nil, err
	}
	var p diagnose.Process
	if err := json.Unmarshal([]byte(report), &p); err != nil {
		return nil, refuse(api.Internal, "the worker's answer cannot be read: "+err.Error())
	}
	return p, nil
}
