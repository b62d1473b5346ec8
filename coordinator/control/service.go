package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// ErrClosed says that the service has ended.
var ErrClosed = errors.New("the coordinator's service has ended")

// Service registers workers, keeps their leases, and carries out decisions. See Run.
type Service struct {
	config Config
	logger *slog.Logger
	calls  chan call
	ended  chan struct{}
	watch  watch

	started atomic.Bool // Run
	loop                // of Run's goroutine alone
}

// loop is the state of Run's goroutine.
type loop struct {
	nc       *nats.Conn
	messages chan *nats.Msg
	closings chan *nats.Msg

	state    *cluster.State    // a copy of the log's
	dirty    bool              // the state has changed since the last decision
	until    time.Time         // when to decide again although nothing has changed; zero: never
	leases   map[string]*lease // by worker
	lastTick time.Time
	heard    time.Time            // when the broker was there
	silent   bool                 // the broker did not answer when it was asked last, on a connection that is open
	progress map[string]*progress // by run
	meshes   map[string]meshes    // by run
	fatal    error

	inspections map[string]chan<- string // who waits for a worker's description, by request
}

// progress is what a run's rank 0 has told.
type progress struct {
	report  *wire.Report // the newest of the generation
	written int          // steps that the log knows
	at      time.Time    // when it was told
}

// call is a call of the API, to be made by Run's goroutine.
type call struct {
	make func() error
	done chan error
}

// room is the number of messages that may wait for the loop. A worker sends few, but the log may be slow for a while.
const room = 1 << 14

// patience is how many timeouts the service waits for a broker that is gone, before another coordinator may try.
const patience = 4

// New returns a service that waits for Run.
func New(c Config) (*Service, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &Service{config: c, logger: c.Logger, calls: make(chan call), ended: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Run serves until ctx ends, which is no error, or the log or the broker fails; a coordinator that leads no more gets
// raftlog.ErrNotLeader. It returns after all its goroutines have ended. Without Config.Leader workers that carry a run
// are told to let go of it. A service runs once.
func (s *Service) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("control: the service has run already")
	}
	defer close(s.ended)
	defer s.watch.close()
	s.leases, s.progress = make(map[string]*lease), make(map[string]*progress)
	s.meshes = make(map[string]meshes)
	s.messages, s.closings = make(chan *nats.Msg, room), make(chan *nats.Msg, room)
	closeAll, err := s.connect()
	if err != nil {
		return err
	}
	defer closeAll()

	s.lastTick, s.heard = time.Now(), time.Now()
	s.begin()
	s.settle()
	ticker := time.NewTicker(min(s.config.interval()/2, comeback/6))
	defer ticker.Stop()
	for s.fatal == nil {
		select {
		case <-ctx.Done():
			s.farewell()
			return nil
		case m := <-s.messages:
			s.receive(m)
		case m := <-s.closings:
			s.connectionClosed(m)
		case c := <-s.calls:
			err := c.make()
			s.settle()
			c.done <- err
			continue
		case now := <-ticker.C:
			s.tick(now)
		}
		s.settle()
	}
	s.farewell()
	return s.fatal
}

// begin takes the state over. A failure is fatal, which the loop sees.
func (s *Service) begin() {
	if s.config.Leader == "" { // whatever workers the log knows, they have not registered with this process
		_ = s.apply(cluster.Restarted{})
		return
	}
	if s.apply(cluster.TookOver{Coordinator: s.config.Leader}) != nil {
		return
	}
	for _, w := range s.state.Workers {
		s.lease(w.ID, w.Session)
	}
}

// connect subscribes to all that the loop takes.
func (s *Service) connect() (closeAll func(), err error) {
	failed := func(_ *nats.Conn, sub *nats.Subscription, err error) {
		subject := ""
		if sub != nil {
			subject = sub.Subject
		}
		s.logger.Error("broker", "subject", subject, "err", err)
	}
	nc, err := s.config.Broker.connect(userCoordinator, failed)
	if err != nil {
		return nil, err
	}
	monitor, err := s.config.Broker.connect(userMonitor, failed)
	if err != nil {
		nc.Close()
		return nil, err
	}
	closeAll = func() { nc.Close(); monitor.Close() }
	subscribe := func(nc *nats.Conn, subject string, to chan *nats.Msg) {
		if _, e := nc.ChanSubscribe(subject, to); e != nil {
			err = errors.Join(err, fmt.Errorf("subscribe to %s: %w", subject, e))
		}
	}
	subscribe(nc, wire.WorkerSubjects, s.messages)
	subscribe(monitor, "$SYS.ACCOUNT."+account+".DISCONNECT", s.closings)
	if err = errors.Join(err, nc.Flush(), monitor.Flush()); err != nil {
		closeAll()
		return nil, err
	}
	s.nc = nc
	return closeAll, nil
}

// apply puts a command into the log. It returns the reason of a refusal; an error of the log itself ends the loop.
func (s *Service) apply(c cluster.Command) error {
	err := s.config.Log.Apply(context.Background(), c)
	switch {
	case err == nil:
		s.state, s.dirty = s.config.Log.State(), true
		if s.config.OnCommand != nil {
			s.config.OnCommand(cluster.CommandKind(c))
		}
		return nil
	case errors.Is(err, cluster.ErrRefused), errors.Is(err, cluster.ErrStale), errors.Is(err, cluster.ErrUnknown):
		return err
	}
	s.fatal = errors.Join(s.fatal, err)
	return err
}

// settle decides until there is nothing to do, gives the workers their orders, and tells the watchers.
func (s *Service) settle() {
	if !s.dirty || s.fatal != nil {
		return
	}
	for s.dirty && s.fatal == nil {
		s.dirty = false
		d, why := cluster.Decide(s.state, time.Now(), s.config.Decide)
		s.until = d.Until
		if d.Command == nil {
			break
		}
		s.logger.Info("decision", "kind", d.Kind, "job", d.Run, "reason", why)
		s.flushProgress()
		if err := s.apply(d.Command); err != nil {
			s.fatal = errors.Join(s.fatal, fmt.Errorf("carry out the decision %s: %w", d.Kind, err))
		} else if d.Kind == cluster.DoPlan {
			s.tellPlane(s.state.Run(d.Run))
		}
	}
	for id := range s.leases {
		s.order(id)
	}
	s.publish()
}

// tick looks at what time alone brings about.
func (s *Service) tick(now time.Time) {
	paused := now.Sub(s.lastTick) > s.config.Timeout/2
	s.lastTick = now
	cut := !s.nc.IsConnected() || s.silent && !s.reachesBroker()
	if !cut {
		s.heard = now
	} else if now.Sub(s.heard) > patience*s.config.Timeout {
		s.fatal = errors.Join(s.fatal, fmt.Errorf("the broker at %s has not been there for %s", s.config.Broker.URL(),
			patience*s.config.Timeout))
	}
	if paused || cut {
		if paused { // this process or machine stood still; the workers' heartbeats may still wait to be read
			s.logger.Warn("the coordinator was held up; the workers' leases begin anew")
		}
		s.renewAll(now)
	}
	if len(s.messages) == 0 && len(s.closings) == 0 {
		s.expire(now)
	}
	for _, p := range s.progress {
		if now.Sub(p.at) >= s.config.CommitInterval {
			s.flush(p)
		}
	}
	if !s.until.IsZero() && !now.Before(s.until) {
		s.dirty = true
	}
}

// farewell tells the workers that nobody looks after them any more, unless another coordinator will.
func (s *Service) farewell() {
	s.flushProgress()
	if s.config.Leader != "" {
		return
	}
	for _, l := range s.leases {
		s.push(l.subject, wire.Abort{Reason: "it was ended"})
	}
	if err := s.nc.FlushTimeout(s.config.Timeout); err != nil {
		s.logger.Warn("the workers may not have heard that the coordinator is ending", "err", err)
	}
}
