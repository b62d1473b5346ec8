package serve

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/dash"
	"pupil/coordinator/history"
	"pupil/coordinator/peer"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/internal/metrics"
	"pupil/internal/tracing"
)

// Addresses are where a coordinator listens.
type Addresses struct {
	API  string // http://host:port or https://host:port
	Raft string // host:port
}

// server is a running coordinator.
type server struct {
	config  Config
	logger  *slog.Logger
	port    *peer.Port
	log     *raftlog.Log
	service atomic.Pointer[control.Service] // nil: it does not lead
	trouble atomic.Pointer[string]          // why it cannot lead although it should; nil: it can
	pass    *http.Transport                 // to the leader
	ending  context.Context                 // of the process
	metrics *metrics.Coordinator
	site    *dash.Site // what the page reads
}

// The times of an orderly end.
const (
	handOverTime = 5 * time.Second
	drainTime    = 2 * time.Second
)

// Run serves until ctx ends, which is no error, or the log fails.
func Run(ctx context.Context, c Config) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	s := &server{config: c, logger: c.Logger, ending: ctx}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	defer listener.Close()
	s.port, err = peer.Listen(peer.Config{Listen: c.Raft, Advertise: c.Advertise, Token: c.Token, TLS: c.TLS, Logger: s.logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.port.Close()) }()
	s.log, err = raftlog.Open(ctx, filepath.Join(c.Folder, "raft"), raftlog.Options{Logger: c.Logger, Group: &raftlog.Group{
		ID: c.ID, Stream: s.port.Service(peer.Raft), Peers: s.peers(), Timeout: c.Election,
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.log.Close()) }()
	s.pass = &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return s.port.Service(peer.Web).Dial(ctx, address)
	}}
	defer s.pass.CloseIdleConnections()

	closeMetrics, err := s.newMetrics()
	if err != nil {
		return err
	}
	defer closeMetrics()
	defer s.watchCertificates(ctx)()
	defer s.watchTokens(ctx)()
	curves := history.New(history.Config{State: s.log.State, Writes: s.log.Leads, Logger: s.logger})
	s.site = dash.NewSite(c.ID, curves, c.Worker)
	defer s.site.Keep(c.Broker, s.logger)()
	closeHTTP := s.serveHTTP(listener)
	defer closeHTTP()
	a := s.addresses(listener)
	s.logger.Info("coordinator started", "id", c.ID, "api", a.API, "raft", a.Raft, "broker", c.Broker.URL())
	if c.started != nil {
		c.started(a)
	}
	err = s.lead(ctx)
	s.handOver()
	return err
}

// peers are those that the group begins with.
func (s *server) peers() []raftlog.Peer {
	switch {
	case s.config.Join:
		return nil
	case len(s.config.Peers) > 0:
		return s.config.Peers
	}
	return []raftlog.Peer{{ID: s.config.ID, Address: s.port.Address()}}
}

func (s *server) addresses(l net.Listener) Addresses {
	scheme := "http"
	if s.config.TLS != nil {
		scheme = "https"
	}
	return Addresses{API: scheme + "://" + l.Addr().String(), Raft: s.port.Address()}
}

// lead runs the service whenever this coordinator leads.
func (s *server) lead(ctx context.Context) error {
	const most = 3 // failures in a row, before another one shall try
	for failures := 0; ; {
		lost, err := s.log.AwaitLeadership(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.logger.Info("this coordinator leads")
		err = s.term(ctx, lost)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil, errors.Is(err, raftlog.ErrNotLeader):
			failures = 0
			s.logger.Info("this coordinator leads no more")
		case errors.Is(err, raftlog.ErrClosed):
			return err
		default: // such as a broker that does not answer
			s.logger.Error("the coordinator cannot lead; it tries again", "err", err)
			text := err.Error()
			s.trouble.Store(&text)
			if failures++; failures%most == 0 {
				s.handOver()
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// term serves until the leadership is lost.
func (s *server) term(ctx context.Context, lost <-chan struct{}) error {
	c := control.DefaultConfig()
	c.Broker, c.Log, c.Version, c.Leader, c.Logger = s.config.Broker, s.log, s.config.Version, s.config.ID, s.config.Logger
	c.Decide.KeepRuns, c.Decide.KeepFor = s.config.KeepRuns, s.config.KeepFor
	c.Timeout, c.DataPlane, c.OnCommand = s.config.Timeout, s.config.DataPlane, s.metrics.Applied
	if t := s.config.Tracing; t != nil {
		c.OnCommitted = func(r *cluster.Run, m wire.Report, came time.Time) {
			if t.Traces(m.Step - 1) {
				t.Heard(tracing.Run{Name: r.Run, Digest: r.Digest, Storage: r.Storage}, m.Step, m.Generation, came, time.Now())
			}
		}
	}
	service, err := control.New(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.service.Store(service)
	s.trouble.Store(nil)
	defer s.service.Store(nil)
	return service.Run(ctx)
}

// handOver lets another coordinator lead before this one goes.
func (s *server) handOver() {
	done := make(chan error, 1)
	go func() { done <- s.log.HandOver() }()
	select {
	case err := <-done:
		if err != nil {
			s.logger.Warn("no other coordinator could take over", "err", err)
		}
	case <-time.After(handOverTime): // closing the log ends it
		s.logger.Warn("no other coordinator has taken over", "waited", handOverTime)
	}
}

// watchCertificates warns of certificates that expire.
func (s *server) watchCertificates(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.config.TLS.Watch(ctx) })
	return func() { cancel(); wg.Wait() }
}

// serveHTTP answers commands, and what other coordinators pass on.
func (s *server) serveHTTP(api net.Listener) (closeAll func()) {
	streams, endStreams := context.WithCancel(context.Background())
	handler := s.handler(streams)
	var wg sync.WaitGroup
	var servers []*http.Server
	run := func(l net.Listener, tls bool) {
		h := &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
			ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		}
		servers = append(servers, h)
		wg.Go(func() {
			var err error
			if tls {
				h.TLSConfig = s.config.TLS.Server(stdtls.VerifyClientCertIfGiven) // commands show their token
				err = h.ServeTLS(l, "", "")
			} else {
				err = h.Serve(l)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				s.logger.Error("HTTP", "err", err)
			}
		})
	}
	run(api, s.config.TLS != nil)
	run(s.port.Service(peer.Web), false)
	return func() {
		endStreams()
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		for _, h := range servers {
			if h.Shutdown(ctx) != nil {
				_ = h.Close() // what is left
			}
		}
		wg.Wait()
	}
}
