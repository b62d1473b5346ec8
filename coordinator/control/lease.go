package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// lease is what the coordinator knows of a worker by its heartbeats. It lives in memory only.
type lease struct {
	session  string
	subject  string // of its orders
	deadline time.Time
	closed   string // why its connection closed; "" while it is open, as far as is known
	closedOn string // wire.ConnectionName of it
	missedBy string // who of its generation finds nobody at its ring's address any more; "": nobody
	beat     wire.Heartbeat
	beatAt   time.Time
	told     cluster.Order // the newest order that was pushed
	toldAt   time.Time
	letGo    string // why it has nothing to carry any more
	mark     mark   // of measure
}

func (l *lease) renew(now time.Time, timeout time.Duration) {
	l.deadline, l.closed, l.closedOn, l.missedBy = now.Add(timeout), "", "", ""
}

// late says whether a heartbeat was sent before the connection closed, and is only read now: it is no sign of life.
func (l *lease) late(m wire.Heartbeat) bool { return l.closed != "" && m.Connection == l.closedOn }

// why says why a lease has ended.
func (l *lease) why(timeout time.Duration) string {
	switch {
	case l.closed == "":
		return fmt.Sprintf("no heartbeat came for %s", timeout)
	case l.missedBy == "":
		return fmt.Sprintf("its connection closed (%s)", l.closed)
	}
	return fmt.Sprintf("its connection closed (%s), and worker %s finds its process gone", l.closed, l.missedBy)
}

// receive handles a message of a worker.
func (s *Service) receive(msg *nats.Msg) {
	m, err := wire.Decode(msg.Data)
	if errors.Is(err, wire.ErrVersion) {
		err = fmt.Errorf("the worker's build and the coordinator's are too far apart: %w; upgrade the older one", err)
	}
	if err != nil {
		if worker, session, ok := wire.Sender(msg.Subject); !ok || !strings.HasPrefix(msg.Reply, wire.InboxPrefix(worker, session)+".") {
			msg.Reply = ""
		}
		s.refuse(msg, err.Error(), false)
		return
	}
	if reason := s.wrongSender(msg, m); reason != "" {
		s.refuse(msg, reason, false)
		return
	}
	switch m := m.(type) {
	case wire.Register:
		s.register(msg, m)
	case wire.Heartbeat:
		s.heartbeat(msg, m)
	case wire.Draining:
		s.answer(msg, s.apply(cluster.Draining{Worker: m.Worker, Session: m.Session, Reason: m.Reason}))
	case wire.Prepared:
		s.answer(msg, s.apply(cluster.Prepared{Worker: m.Worker, Session: m.Session, Run: m.Run, Error: m.Error}))
	case wire.Leave:
		s.leave(msg, m)
	case wire.Began:
		s.answer(msg, s.apply(cluster.Began{
			Worker: m.Worker, Run: m.Run, Generation: m.Generation, Step: m.Step, From: m.From,
		}))
	case wire.Noticed:
		s.answer(msg, s.apply(cluster.Noticed{Worker: m.Worker, Run: m.Run, Generation: m.Generation, Text: m.Text}))
	case wire.Report:
		s.report(m)
	case wire.Distributions: // Listen takes it
	case wire.Inspected:
		s.inspected(m)
	case wire.CheckpointSaved:
		s.answer(msg, s.apply(cluster.Checkpointed{Run: m.Run, Generation: m.Generation, Step: m.Step}))
	case wire.Ended:
		s.flushProgress()
		s.answer(msg, s.apply(cluster.Ended{
			Worker: m.Worker, Run: m.Run, Generation: m.Generation, Outcome: cluster.Phase(m.Outcome), Step: m.Step,
			Error: m.Error, Weights: m.WeightsSHA256,
		}))
	}
}

// wrongSender says why a message is not of the worker whose subject it came on; "" when it is. The broker lets a worker use no
// subject of others.
func (s *Service) wrongSender(msg *nats.Msg, m wire.Message) string {
	worker, session, _ := wire.Sender(msg.Subject)
	by, in := senderOf(m)
	if by == "" {
		return "it is nothing that a worker says"
	}
	if in == "" { // what concerns a run is said by the session that lives
		in = session
		if w := s.state.Worker(worker); by == worker && (w == nil || w.Session != session) {
			return fmt.Sprintf("worker %s is not registered with this session", worker)
		}
	}
	if by != worker || in != session {
		return fmt.Sprintf("the message belongs on the subject %q", wire.WorkerSubject(by, in))
	}
	if msg.Reply != "" && !strings.HasPrefix(msg.Reply, wire.InboxPrefix(worker, session)+".") {
		msg.Reply = "" // the answer would go where the worker may not publish
		return "an answer can only go to the worker's own inbox"
	}
	return ""
}

// senderOf is the worker that a message says it is of, and its session where it says that; "" for what workers do not say.
func senderOf(m wire.Message) (worker, session string) {
	switch m := m.(type) {
	case wire.Register:
		return m.Worker, m.Session
	case wire.Heartbeat:
		return m.Worker, m.Session
	case wire.Leave:
		return m.Worker, m.Session
	case wire.Draining:
		return m.Worker, m.Session
	case wire.Inspected:
		return m.Worker, m.Session
	case wire.Prepared:
		return m.Worker, m.Session
	case wire.Began:
		return m.Worker, ""
	case wire.Noticed:
		return m.Worker, ""
	case wire.Report:
		return m.Worker, ""
	case wire.Distributions:
		return m.Worker, ""
	case wire.CheckpointSaved:
		return m.Worker, ""
	case wire.Ended:
		return m.Worker, ""
	}
	return "", ""
}

func (s *Service) register(msg *nats.Msg, m wire.Register) {
	if err := s.config.DataPlane.Fits(m.RingAddress, m.RingKey); err != nil {
		s.refuse(msg, fmt.Sprintf("worker %s: %v", m.Worker, err), false)
		return
	}
	err := s.apply(cluster.Join{
		Worker: m.Worker, Session: m.Session, Host: m.Host, PID: m.PID, Threads: m.Threads, Kernel: m.Kernel,
		Build: m.Build, Numerics: m.Numerics, RingAddress: m.RingAddress, RingKey: m.RingKey,
	})
	if err != nil { // the process that has the id may be dead, and its lease about to run out
		s.refuse(msg, err.Error(), errors.Is(err, cluster.ErrRefused))
		return
	}
	if l := s.leases[m.Worker]; l == nil || l.session != m.Session {
		s.lease(m.Worker, m.Session)
		s.logger.Info("worker joined", "worker", m.Worker, "host", m.Host, "pid", m.PID, "threads", m.Threads, "build", m.Build)
	}
	s.leases[m.Worker].renew(time.Now(), s.config.Timeout)
	s.reply(msg, wire.Registered{Interval: s.config.interval(), Timeout: s.config.Timeout})
}

// lease begins a worker's lease.
func (s *Service) lease(worker, session string) {
	now := time.Now()
	l := &lease{session: session, subject: wire.PushSubject(worker, session), beatAt: now}
	l.beat = wire.Heartbeat{Worker: worker, Session: session, Activity: wire.Idle}
	l.renew(now, s.config.Timeout)
	s.leases[worker] = l
}

func (s *Service) heartbeat(msg *nats.Msg, m wire.Heartbeat) {
	l := s.leases[m.Worker]
	if l == nil || l.session != m.Session {
		// Another coordinator may lead meanwhile, and know the worker.
		if err := s.config.Log.Verify(); err != nil {
			s.fatal = errors.Join(s.fatal, err)
		}
		s.refuse(msg, fmt.Sprintf("worker %s is not registered; its lease ran out, or the coordinator was restarted",
			m.Worker), false)
		return
	}
	now := time.Now()
	if !l.late(m) {
		l.renew(now, s.config.Timeout)
	}
	l.beat, l.beatAt = m, now
	s.reply(msg, wire.Ack{})
	for _, id := range m.Gone {
		s.missed(id, m)
	}
	s.measure(m.Worker)
	if now.Sub(l.toldAt) >= s.config.interval() && (!followed(l.told, m) || s.prepares(m.Worker)) {
		s.give(m.Worker, l, l.told)
	}
	s.publish()
}

func (s *Service) leave(msg *nats.Msg, m wire.Leave) {
	s.flushProgress()
	err := s.apply(cluster.Leave{Worker: m.Worker, Session: m.Session})
	if l := s.leases[m.Worker]; err == nil && l != nil {
		delete(s.leases, m.Worker)
		s.logger.Info("worker left", "worker", m.Worker)
	}
	s.answer(msg, err)
}

// connectionClosed shortens the lease of a worker whose connection has closed, when it does not come back at once.
func (s *Service) connectionClosed(msg *nats.Msg) {
	var e server.DisconnectEventMsg
	if err := json.Unmarshal(msg.Data, &e); err != nil {
		s.logger.Error("broker", "subject", msg.Subject, "err", err)
		return
	}
	worker, session := workerOf(e.Client.User, e.Client.Name)
	l := s.leases[worker]
	if l == nil || l.session != session || e.Reason == server.ServerShutdown.String() { // then it is the broker that has gone
		return
	}
	on := wire.ConnectionName(e.Server.ID, e.Client.ID)
	if by := l.beat.Connection; by != "" && by != on {
		return // the worker has left it for another, before its broker has noticed
	}
	l.closed, l.closedOn = e.Reason, on
	if s.dead(worker, l) {
		return
	}
	if soon := time.Now().Add(s.config.comesBack()); soon.Before(l.deadline) {
		l.deadline = soon
	}
}

// missed notes that a worker finds another one of its generation gone.
func (s *Service) missed(worker string, by wire.Heartbeat) {
	l, w, witness := s.leases[worker], s.state.Worker(worker), s.state.Worker(by.Worker)
	if l == nil || w == nil || witness == nil || worker == by.Worker || w.Session != l.session || w.Run == "" || w.Run != witness.Run ||
		w.Generation != by.Generation || witness.Generation != by.Generation {
		return
	}
	l.missedBy = by.Worker
	s.dead(worker, l)
}

// dead gives a worker up that two witnesses have seen go: the broker its connection, and another worker its own server. It does
// not come back. A broker or coordinator that dies closes no server of a worker, and a network that fails closes nothing.
func (s *Service) dead(worker string, l *lease) bool {
	if l.closed == "" || l.missedBy == "" {
		return false
	}
	_ = s.lose(worker, l.session, l.why(s.config.Timeout)) // refused only if it has gone already
	return true
}

// expire gives up the workers whose lease has run out. Those that are silent are not given up when the broker is silent as
// well: then it is this coordinator that is cut off, or the broker.
func (s *Service) expire(now time.Time) {
	var gone []string
	quiet := false
	for id, l := range s.leases {
		if now.After(l.deadline) {
			gone = append(gone, id)
			quiet = quiet || l.closed == ""
		}
	}
	if quiet && !s.reachesBroker() {
		s.logger.Warn("the broker does not answer; the workers' leases begin anew", "broker", s.config.Broker.URL())
		s.renewAll(now)
		return
	}
	slices.Sort(gone)
	for _, id := range gone {
		l := s.leases[id]
		_ = s.lose(id, l.session, l.why(s.config.Timeout)) // refused only if it has gone already
	}
}

// reachesBroker says whether the broker answers now, on a connection that may be open and carry nothing.
func (s *Service) reachesBroker() bool {
	s.silent = s.nc.FlushTimeout(s.config.interval()) != nil
	return !s.silent
}

func (s *Service) renewAll(now time.Time) {
	for _, l := range s.leases {
		l.renew(now, s.config.Timeout)
	}
}

// lose gives a worker up. With session "" it is whatever process has the id.
func (s *Service) lose(id, session, reason string) error {
	s.flushProgress()
	err := s.apply(cluster.Lost{Worker: id, Session: session, Reason: reason})
	if err == nil {
		s.logger.Info("worker lost", "worker", id, "reason", reason)
	}
	delete(s.leases, id)
	return err
}

// answer acknowledges a request, or refuses it with the error.
func (s *Service) answer(msg *nats.Msg, err error) {
	if err != nil {
		s.refuse(msg, err.Error(), false)
		return
	}
	s.reply(msg, wire.Ack{})
}

// refuse answers that a request is not granted. A service that is ending does not answer: the worker asks again, and the
// coordinator that leads then will.
func (s *Service) refuse(msg *nats.Msg, reason string, retry bool) {
	if s.fatal != nil {
		return
	}
	s.logger.Warn("refused a message", "subject", msg.Subject, "reason", reason)
	s.reply(msg, wire.Refused{Reason: wire.Clip(reason), Retry: retry})
}

// reply answers a message that asks for it.
func (s *Service) reply(msg *nats.Msg, m wire.Message) {
	if msg.Reply != "" {
		s.push(msg.Reply, m)
	}
}

// push publishes a message. That it arrives is seen by what the worker says later.
func (s *Service) push(subject string, m wire.Message) {
	data, err := wire.Encode(m)
	if err == nil {
		err = s.nc.Publish(subject, data)
	}
	if err != nil {
		s.logger.Error("publish", "subject", subject, "err", err)
	}
}
