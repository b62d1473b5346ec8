package serve

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"

	"pupil/coordinator/cluster"
	"pupil/coordinator/view"
	"pupil/coordinator/wire"
	"pupil/internal/metrics"
)

// newMetrics makes the coordinator's metrics, and serves them on a port of their own if that is asked for.
func (s *server) newMetrics() (closeAll func(), err error) {
	v := metrics.Vocabulary{
		Commands: cluster.CommandKinds(),
		Over:     func(phase string) bool { return cluster.Phase(phase).Over() },
	}
	for _, p := range cluster.Phases() {
		v.Phases = append(v.Phases, string(p))
	}
	for _, a := range []wire.Activity{wire.Idle, wire.Training, wire.Stopping, wire.Done} {
		v.Activities = append(v.Activities, string(a))
	}
	s.metrics = metrics.NewCoordinator(v, s.measure)
	if len(s.config.Certificates) > 0 {
		s.metrics.Registry.MustRegister(metrics.Certificates(s.config.Certificates))
	}
	e := s.config.Metrics
	if e.Listen == "" {
		return func() {}, nil
	}
	e.Ready, e.Logger = s.isReady, s.logger
	e.TLS = s.config.TLS.Server(tls.VerifyClientCertIfGiven) // who reads shows a token
	_, closeAll, err = e.Start(s.metrics.Registry)
	return closeAll, err
}

// isReady is nil while this coordinator can answer commands: it leads, or knows who does.
func (s *server) isReady() error {
	if text := s.trouble.Load(); text != nil && s.log.Leads() {
		return errors.New("this coordinator leads and cannot work: " + *text)
	}
	if _, known := s.log.Leader(); !known {
		return errors.New("the coordinators have no leader at the moment")
	}
	return nil
}

// ready answers probes. It says nothing that is secret, and asks for no token.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.isReady() != nil {
		http.Error(w, "there is no leader", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// measure is what this coordinator knows.
func (s *server) measure() metrics.Cluster {
	_, known := s.log.Leader()
	c := metrics.Cluster{HasLeader: known, Term: s.log.Term(), Workers: map[string]int{}}
	if members, err := s.log.Members(); err == nil { // else the log is being closed
		c.Members = len(members)
	}
	leader := s.service.Load()
	if leader == nil {
		return c
	}
	st := leader.Status()
	if st.State == nil { // the service has only begun
		return c
	}
	c.Leads = true
	if n := len(st.Events); n > 0 {
		c.Events = st.Events[n-1].Sequence
	}
	for _, w := range st.Workers {
		c.Workers[string(w.Activity)]++
	}
	for _, r := range view.Status(s.config.ID, st).Runs {
		m := metrics.Run{
			Run: r.Run, Phase: string(r.Phase), Committed: r.Committed, Step: r.Step, Total: r.Total, Workers: len(r.Workers),
			MinWorkers: r.MinWorkers, Lanes: st.State.Run(r.Run).Spec.Lanes, Generation: r.Generation, Loss: r.Loss,
			MutualInformation: r.MutualInformation, ImagesPerSecond: r.ImagesPerSecond, ETASeconds: r.ETASeconds, Checkpoint: -1,
		}
		if n := len(r.Checkpoints); n > 0 {
			m.Checkpoint = r.Checkpoints[n-1]
		}
		m.Checkpointed, _ = st.State.CheckpointTime(r.Run)
		if r.Slow != nil {
			m.SlowWorker, m.SlowRank, m.SlowCause = r.Slow.Worker, r.Slow.Rank, r.Slow.Cause
		}
		c.Runs = append(c.Runs, m)
	}
	return c
}
