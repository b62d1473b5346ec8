package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/version"
)

// ErrCoordinatorGone says that the coordinator has ended, or its broker cannot be reached any more. Test with errors.Is.
var ErrCoordinatorGone = errors.New("the coordinator is gone")

// Config says who the worker is, and where its coordinator.
type Config struct {
	URL            string // of the coordinator's broker, nats://host:port
	User, Password string // for the broker
	// Access asks a coordinator for URL, User and Password of a session, when it begins and when they are about to expire. nil:
	// those above.
	Access        func(ctx context.Context, worker, session string) (*wire.Broker, error)
	TLS           *certificate.Source // for a broker with certificates; nil: the system's authorities
	ID            string              // unique among the workers, see wire.CheckName
	Threads       int                 // that the trainer uses, at least 1
	Version       string              // of this build, for people
	Kernel        string              // name of the kernels that compute
	RingListen    string              // host:port for the other workers' ring data (data plane mesh); port 0: one that is free; "": see listenAsWanted
	RingPlain     bool                // without TLS, on a loopback address (data plane local)
	RingAdvertise string              // host:port that they reach it by; "": where it listens
	JoinTimeout   time.Duration       // so long the worker tries to register; default 30s
	Patience      time.Duration       // the worker ends when for so long no coordinator has answered and no step was made; 0: never
	Drain         <-chan struct{}     // closed when the worker shall hand over its lanes and leave; may be nil
	Grace         time.Duration       // then it leaves after so long in any case; default 30s
	Joined        func(bool)          // called when the coordinator has taken the worker in, and when that is over; may be nil
	Logger        *slog.Logger        // nil: no logs

	own *ownServer // while Run runs
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, x := range []struct{ name, value string }{{"version", c.Version}, {"kernel", c.Kernel}} {
		if x.value == "" {
			errs = append(errs, fmt.Errorf("%s is missing", x.name))
		}
	}
	if c.URL == "" && c.Access == nil {
		errs = append(errs, errors.New("url is missing"))
	}
	errs = append(errs, c.checkRing())
	if c.Threads < 1 {
		errs = append(errs, fmt.Errorf("threads is %d; it must be at least 1", c.Threads))
	}
	for _, x := range []struct {
		name  string
		value time.Duration
	}{{"join timeout", c.JoinTimeout}, {"patience", c.Patience}, {"grace", c.Grace}} {
		if x.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %s; it must not be negative", x.name, x.value))
		}
	}
	return errors.Join(append(errs, wire.CheckName("worker", c.ID))...)
}

// agent is a worker process's standing with the coordinator: one session of it.
type agent struct {
	config  Config
	logger  *slog.Logger
	session string
	nc      *nats.Conn
	gone    context.CancelCauseFunc // ends the session
	beatNow chan struct{}           // asks for a heartbeat at once
	access  access                  // to the broker
	plane   wire.DataPlane          // of the coordinators; "": not known
	line    *line                   // under nc
	quiet   atomic.Int64            // a broker that is silent for so long is left for another, nanoseconds
	heard   atomic.Int64            // when a coordinator answered, Unix nanoseconds

	interval, timeout time.Duration // of heartbeats, once registered

	plans   chan *part // the newest one that is not carried yet
	prepare chan wire.Prepare
	drained chan struct{} // closed when the coordinator knows that the worker leaves

	notices sync.WaitGroup // of preparations
	untold  *untold        // notices of all parts

	mu   sync.Mutex
	part *part          // of the newest plan; nil: none
	beat wire.Heartbeat // the next one
}

// errForgotten says that the coordinator does not know the session any more.
var errForgotten = errors.New("the coordinator has given this worker up")

// Run joins the coordinator and carries plans until ctx ends, Config.Drain is closed and the worker's lanes are handed
// over, or the coordinator is gone. A worker that the coordinator has given up, as one that stood still for too long,
// joins again.
func Run(ctx context.Context, c Config, t Trainer) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if c.JoinTimeout == 0 {
		c.JoinTimeout = 30 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.own = &ownServer{}
	if c.RingListen != "" {
		if err := c.own.listen(c.RingListen, c.RingPlain, c.Logger); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	defer c.own.close(c.Logger)
	for {
		err := runSession(ctx, c, t)
		if !errors.Is(err, errForgotten) {
			return err
		}
		c.Logger.Warn("joining again", "worker", c.ID, "err", err)
	}
}

// runSession is one session, from the connection to the goodbye.
func runSession(ctx context.Context, c Config, t Trainer) error {
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	a := &agent{
		config: c, logger: c.Logger, session: randomName(), gone: gone,
		beatNow: make(chan struct{}, 1), plans: make(chan *part, 1), prepare: make(chan wire.Prepare, 1), drained: make(chan struct{}),
		untold: newUntold(),
	}
	a.beat = wire.Heartbeat{Worker: c.ID, Session: a.session, Activity: wire.Idle}
	if err := a.obtain(ctx); err != nil {
		return err
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	defer a.nc.Close()
	a.listenAsWanted()
	defer a.watchLine(ctx)()
	orders, answers := make(chan *nats.Msg, 256), make(chan *nats.Msg, 256)
	_, err1 := a.nc.ChanSubscribe(wire.PushSubject(c.ID, a.session), orders)
	_, err2 := a.nc.ChanSubscribe(a.answers(), answers)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("subscribe to what the coordinator says: %w", err)
	}
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("join the coordinator at %s: %w", a.config.URL, err)
	}
	a.logger.Info("joined", "coordinator", a.config.URL, "worker", c.ID)
	if c.Joined != nil {
		c.Joined(true)
		defer c.Joined(false)
	}

	var wg sync.WaitGroup
	living, end := context.WithCancel(ctx)
	wg.Go(func() { a.heartbeats(living, answers) })
	wg.Go(func() { a.takeOrders(living, orders) })
	wg.Go(func() { a.drain(living) })
	wg.Go(func() { a.tellNotices(living) })
	err := a.serve(ctx, t)
	end() // before the goodbye: a heartbeat after it would be refused
	wg.Wait()
	a.notices.Wait()
	if !errors.Is(err, ErrCoordinatorGone) && !errors.Is(err, errForgotten) {
		a.leave(ctx)
	}
	return err
}

// connect opens the connection that control and ring share.
// A broker that is not there yet, or is away for a while, is tried until the join timeout.
func (a *agent) connect(ctx context.Context) error {
	until := time.Now().Add(a.config.JoinTimeout)
	for tried := false; ; tried = true {
		nc, err := a.dial()
		if err == nil {
			a.nc = nc
			return nil
		}
		err = fmt.Errorf("connect to the coordinator at %s: %w", a.config.URL, err)
		if errors.Is(err, nats.ErrAuthorization) {
			return fmt.Errorf("%w; the broker wants a user and a password: --coordinator gets them from there, or give PUPIL_NATS_USER and PUPIL_NATS_PASSWORD", err)
		}
		if errors.Is(err, nats.ErrTLS) && !a.config.TLS.HasCertificate() {
			return fmt.Errorf("%w; a broker with TLS wants a certificate of this worker: give --tls-cert and --tls-key", err)
		}
		if !away(err) || time.Now().After(until) {
			return err
		}
		if !tried {
			a.logger.Warn("the broker does not answer; trying again", "for", a.config.JoinTimeout, "err", err)
		}
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// away says whether an error of a connection means that nobody is there, who may come back.
func away(err error) bool {
	var network *net.OpError
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) ||
		errors.As(err, &network) && (network.Op == "dial" || network.Op == "read")
}

// reconnectWait is the time between two tries.
const reconnectWait = 100 * time.Millisecond

func (a *agent) dial() (*nats.Conn, error) {
	const wait = reconnectWait
	a.line = newLine()
	nc, err := nats.Connect(a.config.URL,
		a.line.options(),
		secure(a.config.TLS),
		nats.UserInfoHandler(a.user),
		nats.Name(a.config.ID+" "+a.session), // the coordinator knows it again when it closes
		nats.CustomInboxPrefix(wire.InboxPrefix(a.config.ID, a.session)),
		nats.FlusherTimeout(a.config.JoinTimeout),                                              // a write that is stuck does not hold up the end for longer
		nats.ReconnectBufSize(-1),                                                              // what is sent without a connection fails at once; the sender tries again
		nats.ReconnectWait(wait), nats.ReconnectJitter(wait/2, wait/2), nats.MaxReconnects(-1), // see solitude
		nats.NoCallbacksAfterClientClose(),
		nats.ReconnectHandler(func(*nats.Conn) {
			a.logger.Info("connected to the coordinator again")
			a.wake()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				a.logger.Warn("the connection to the coordinator broke", "err", err)
			}
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			a.gone(errors.Join(ErrCoordinatorGone, nc.LastError()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			a.logger.Error("connection to the coordinator", "subject", subject, "err", err)
		}),
	)
	if err == nil {
		a.line.count(nc)
	}
	return nc, err
}

// watchLine leaves a broker that is silent, or over which no coordinator answers, while there are others. The coordinator gives
// a worker up after a.timeout, so there is time to come by another way.
func (a *agent) watchLine(ctx context.Context) (end func()) {
	a.answered()
	a.quiet.Store(int64(joinQuiet))
	quiet := func() time.Duration {
		if !a.nc.IsConnected() { // then all brokers are tried in turn
			return stale
		}
		return time.Duration(a.quiet.Load())
	}
	var cut time.Time
	inVain := func(now time.Time) bool {
		since := time.Unix(0, a.heard.Load())
		if cut.After(since) {
			since = cut
		}
		if now.Sub(since) < max(4*quiet(), leastWait) {
			return false
		}
		cut = now
		return true
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { a.line.watch(ctx, quiet, inVain, func(why string) { a.logger.Warn(why) }) })
	return func() { cancel(); wg.Wait() }
}

// leastWait is how long the coordinators may be without a leader, before the reason is looked for in the broker.
const leastWait = 5 * time.Second

// answered notes that a coordinator has said something.
func (a *agent) answered() { a.heard.Store(time.Now().UnixNano()) }

// secure says with which certificates, at each connection anew. A tls:// URL demands that they are used.
func secure(s *certificate.Source) nats.Option {
	return func(o *nats.Options) error {
		if s != nil {
			o.TLSConfig, o.RootCAsCB, o.TLSCertCB = s.Client(), s.Roots, s.Certificate
		}
		return nil
	}
}

// register asks to be taken in until that is granted, refused for good, or the time is up.
func (a *agent) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.config.JoinTimeout,
		fmt.Errorf("it did not take worker %s in within %s", a.config.ID, a.config.JoinTimeout))
	defer cancel()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	m := wire.Register{
		Worker: a.config.ID, Session: a.session, Host: host, PID: os.Getpid(),
		Threads: a.config.Threads, Build: a.config.Version, Kernel: a.config.Kernel,
		Numerics: version.Numerics(),
	}
	m.RingAddress, m.RingKey = a.ringServer()
	r, err := request[wire.Registered](ctx, a.nc, wire.WorkerSubject(a.config.ID, a.session), m, time.Second/2)
	if err != nil {
		return err
	}
	a.interval, a.timeout = r.Interval, r.Timeout
	a.answered()
	a.quiet.Store(int64(max(a.timeout/2, leastQuiet)))
	return nil
}

// serve carries one plan after the other. It returns nil when the worker has handed over its lanes.
func (a *agent) serve(ctx context.Context, t Trainer) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select { // a plan that came before the word that the worker leaves is carried
		case p := <-a.plans:
			a.carry(ctx, t, p)
			continue
		default:
		}
		select {
		case p := <-a.plans:
			a.carry(ctx, t, p)
		case m := <-a.prepare:
			a.getReady(ctx, t, m)
		case <-a.drained:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// carry does a plan's part, tells how it ended, and lets go of it when the coordinator says so: others may still ask
// this worker's ring about the last step.
func (a *agent) carry(ctx context.Context, t Trainer, p *part) {
	defer p.close()
	if end, ok := p.carry(t); ok {
		p.logEnd(end)
		a.setActivity(p, wire.Done)
		// Until another generation makes the word idle: the part's own context may have ended with the ring.
		_, err := request[wire.Ack](p.over, a.nc, wire.WorkerSubject(a.config.ID, a.session), end, a.interval)
		if err != nil && p.over.Err() == nil {
			a.logger.Warn("could not tell how the part ended", "generation", p.plan.Generation, "err", err)
		}
	}
	<-p.over.Done()
	a.setActivity(p, wire.Idle)
}

// getReady prepares for a run, beside all else, and tells how that ended.
func (a *agent) getReady(ctx context.Context, t Trainer, m wire.Prepare) {
	tell := func(err error) {
		answer := wire.Prepared{Worker: a.config.ID, Session: a.session, Run: m.Run}
		if err != nil {
			answer.Error = wire.Clip(err.Error())
		}
		ctx, cancel := context.WithTimeout(ctx, a.timeout) // then the coordinator has asked again
		defer cancel()
		if _, err := request[wire.Ack](ctx, a.nc, wire.WorkerSubject(a.config.ID, a.session), answer, a.interval); err != nil {
			a.logger.Debug("could not tell of the preparation", "job", m.Run, "err", err)
		}
	}
	if p, ok := t.(Preparer); ok {
		p.Prepare(m, tell)
		return
	}
	a.notices.Go(func() { tell(nil) })
}

// errGrace says that a worker leaves with lanes that nobody has taken.
var errGrace = errors.New("the lanes were not handed over")

// drain waits for the word to leave, and tells the coordinator. After the grace the worker leaves in any case.
func (a *agent) drain(ctx context.Context) {
	select {
	case <-a.config.Drain:
	case <-ctx.Done():
		return
	}
	a.logger.Info("leaving as soon as others carry the lanes", "worker", a.config.ID, "grace", a.config.Grace)
	grace, cancel := context.WithTimeoutCause(ctx, a.config.Grace,
		fmt.Errorf("%w within the grace period of %s", errGrace, a.config.Grace))
	defer cancel()
	m := wire.Draining{Worker: a.config.ID, Session: a.session, Reason: "it was asked to end"}
	_, err := request[wire.Ack](grace, a.nc, wire.WorkerSubject(a.config.ID, a.session), m, a.interval)
	if refused := new(wire.Refused); errors.Is(err, errGrace) && !errors.As(err, &refused) {
		err = fmt.Errorf("%w: no coordinator answers", context.Cause(grace))
	}
	if err != nil {
		a.gone(err)
		return
	}
	close(a.drained)
	<-grace.Done() // the session's end, or the grace's
	a.gone(context.Cause(grace))
}

// lastWords returns a context for what the coordinator is told also when ctx has ended, by a signal: as long as it
// lives, and for the timeout at most; for an interval when the grace is over.
func (a *agent) lastWords(ctx context.Context) (context.Context, context.CancelFunc) {
	most := a.timeout
	if errors.Is(context.Cause(ctx), errGrace) {
		most = a.interval
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrCoordinatorGone) {
			cancel()
		}
	})
	return last, func() { stop(); cancel() }
}

// leave says goodbye, as far as there is somebody to hear it.
func (a *agent) leave(ctx context.Context) {
	ctx, cancel := a.lastWords(ctx)
	defer cancel()
	m := wire.Leave{Worker: a.config.ID, Session: a.session}
	if _, err := request[wire.Ack](ctx, a.nc, wire.WorkerSubject(a.config.ID, a.session), m, a.interval); err != nil {
		a.logger.Debug("could not say goodbye", "err", err)
	}
}

// randomName returns 128 random bits in hex.
func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
