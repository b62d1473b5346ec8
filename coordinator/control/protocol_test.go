package control_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// raw is a worker played by the test, message by message.
type raw struct {
	s           *site
	nc          *nats.Conn
	id, session string
	orders      chan *nats.Msg
	denied      chan error
}

// connect opens a connection as workers have them. name is the connection's.
func (s *site) connect(name string) (*nats.Conn, chan error) {
	s.t.Helper()
	id, session, _ := strings.Cut(name, " ")
	as := s.broker.Users().WorkerAccess(id, session, time.Now().Add(time.Hour), "")
	return s.dial(as.User, as.Password, name, wire.InboxPrefix(id, session))
}

// dial opens a connection as a user. What it is not permitted to do is told by denied.
func (s *site) dial(user, password, name, inbox string) (nc *nats.Conn, denied chan error) {
	s.t.Helper()
	denied = make(chan error, 100)
	nc, err := nats.Connect(cmp.Or(s.url, s.broker.URL()), nats.UserInfo(user, password), nats.CustomInboxPrefix(inbox),
		nats.Name(name), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc, denied
}

// as is the connection of a worker that has not registered.
func (s *site) as(id, session string) *raw {
	s.t.Helper()
	w := &raw{s: s, id: id, session: session, orders: make(chan *nats.Msg, 100)}
	w.nc, w.denied = s.connect(id + " " + session)
	return w
}

// join registers a worker.
func (s *site) join(id, session string) *raw {
	s.t.Helper()
	w := s.as(id, session)
	if _, err := w.nc.ChanSubscribe(wire.PushSubject(id, session), w.orders); err != nil {
		s.t.Fatal(err)
	}
	if _, ok := w.ask(wire.WorkerSubject(id, session), w.registration()).(wire.Registered); !ok {
		s.t.Fatalf("worker %s is not taken in", id)
	}
	return w
}

func (w *raw) registration() wire.Register {
	return wire.Register{
		Worker: w.id, Session: w.session, Host: "h", PID: 1, Threads: 1, Build: version, Kernel: "generic",
	}
}

// ask sends a message and returns the answer.
func (w *raw) ask(subject string, m wire.Message) wire.Message {
	w.s.t.Helper()
	return w.askData(subject, encode(w.s.t, m))
}

func encode(t *testing.T, m wire.Message) []byte {
	t.Helper()
	data, err := wire.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (w *raw) askData(subject string, data []byte) wire.Message {
	w.s.t.Helper()
	reply, err := w.nc.RequestWithContext(w.s.t.Context(), subject, data)
	if err != nil {
		w.s.t.Fatal(err)
	}
	answer, err := wire.Decode(reply.Data)
	if err != nil {
		w.s.t.Fatal(err)
	}
	return answer
}

// beat sends a heartbeat and returns the answer.
func (w *raw) beat(generation uint64, a wire.Activity) wire.Message {
	w.s.t.Helper()
	client, err := w.nc.GetClientID()
	if err != nil {
		w.s.t.Fatal(err)
	}
	m := wire.Heartbeat{
		Worker: w.id, Session: w.session, Generation: generation, Activity: a,
		Connection: wire.ConnectionName(w.nc.ConnectedServerId(), client),
	}
	return w.ask(wire.WorkerSubject(w.id, w.session), m)
}

// order waits for an order, sending heartbeats all the while.
func (w *raw) order(generation uint64, a wire.Activity) wire.Message {
	w.s.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case msg := <-w.orders:
			m, err := wire.Decode(msg.Data)
			if err != nil {
				w.s.t.Fatal(err)
			}
			return m
		case <-ticker.C:
			w.beat(generation, a)
		}
	}
}

// hears waits for an order for which ok holds.
func (w *raw) hears(generation uint64, a wire.Activity, ok func(wire.Message) bool) {
	w.s.t.Helper()
	for !ok(w.order(generation, a)) {
	}
}

func isPlan(m wire.Message) bool {
	p, ok := m.(wire.Plan)
	return ok && p.Generation == 1 && p.Run == "a" && len(p.Members[p.Rank].Lanes) > 0
}

func is(want wire.Message) func(wire.Message) bool {
	return func(m wire.Message) bool { return m == want }
}

// refused fails the test unless the answer is a refusal that contains the text.
func refused(t *testing.T, answer wire.Message, text string) {
	t.Helper()
	if r, ok := answer.(wire.Refused); !ok || !strings.Contains(r.Reason, text) {
		t.Errorf("answer %+v; want a refusal that contains %q", answer, text)
	}
}

// fast makes orders come again soon.
func fast(c *control.Config) { c.Timeout = time.Second }

// TestOrdersComeAgain: what a heartbeat shows not to have been heard is said again, the plan before what speaks of it.
func TestOrdersComeAgain(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), fast)
	s.submit("a", 1)
	w := s.join("w0", "s1")
	for range 3 {
		w.hears(0, wire.Idle, isPlan)
	}
	if err := s.service.Stop(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	stop := is(wire.Stop{Generation: 1, Reason: "enough"})
	for range 3 {
		w.hears(1, wire.Training, stop)
	}
	// It forgets the plan, as one does that never got it.
	w.hears(0, wire.Idle, isPlan)
	w.hears(1, wire.Training, stop)
	subject := wire.WorkerSubject("w0", "s1")
	end := wire.Ended{Worker: "w0", Run: "a", Generation: 1, Outcome: wire.Failed, Error: "no"}
	for range 2 { // its answer may be lost
		if m := w.ask(subject, end); m != wire.Message(wire.Ack{}) {
			t.Errorf("answer %+v", m)
		}
	}
	s.over(cluster.Failed)
	for range 2 {
		w.hears(1, wire.Done, is(wire.Abort{Generation: 1, Reason: "the run is failed: worker w0: no"}))
	}
	if m := w.ask(wire.WorkerSubject("w0", "s1"), wire.Leave{Worker: "w0", Session: "s1"}); m != wire.Message(wire.Ack{}) {
		t.Errorf("answer %+v", m)
	}
	refused(t, w.beat(1, wire.Done), "worker w0 is not registered")
}

// TestPrepare: a worker that comes to a run under way is asked to prepare until it answers; only then are the others to let it in.
func TestPrepare(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), func(c *control.Config) { c.Timeout = time.Minute })
	s.submit("a", 1)
	first := s.join("w0", "s1")
	first.hears(0, wire.Idle, isPlan)
	second := s.join("w1", "s2")
	asked := func(m wire.Message) bool {
		p, ok := m.(wire.Prepare)
		return ok && p.Run == "a" && p.Spec != nil && p.Storage != "" && p.Digest != ""
	}
	for range 2 {
		second.hears(0, wire.Idle, asked)
	}
	if st := s.service.Status(); st.State.Run("a").Yielding != "" {
		t.Errorf("the others are to wait for a worker that is not prepared: %s", st.State.Run("a").Yielding)
	}
	answer := wire.Prepared{Worker: "w1", Session: "s2", Run: "a"}
	for range 2 { // its answer may be lost
		if m := second.ask(wire.WorkerSubject("w1", "s2"), answer); m != wire.Message(wire.Ack{}) {
			t.Errorf("answer %+v", m)
		}
	}
	first.hears(1, wire.Training, is(wire.Pause{Generation: 1, Reason: "to take in w1"}))
	refused(t, second.ask(wire.WorkerSubject("w1", "s2"), wire.Prepared{Worker: "w1", Session: "s2", Run: "b"}), "was not asked to prepare")
}

// TestSilentWorker keeps its connection open, and says nothing.
func TestSilentWorker(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), fast)
	s.submit("a", 2)
	silent, other := s.join("w0", "s1"), s.join("w1", "s2")
	other.hears(0, wire.Idle, isPlan)
	var abort wire.Abort
	other.hears(1, wire.Training, func(m wire.Message) (ok bool) {
		abort, ok = m.(wire.Abort)
		return ok
	})
	want(t, errors.New(abort.Reason), "worker w0 was lost: no heartbeat came for 1s")
	refused(t, silent.beat(1, wire.Training), "worker w0 is not registered")
	// It may come again, as a new session.
	if _, ok := silent.ask(wire.WorkerSubject("w0", "s1"), silent.registration()).(wire.Registered); !ok {
		t.Error("a worker that was lost is not taken in again")
	}
}

// TestConnectionComesBack: a connection that breaks and comes back in time does no harm.
func TestConnectionComesBack(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 1)
	w := s.join("w0", "s1")
	w.hears(0, wire.Idle, isPlan)
	w.nc.Close()
	w.nc, w.denied = s.connect("w0 s1")
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range 40 { // for longer than the connection's end would be borne
		if m := w.beat(1, wire.Training); m != wire.Message(wire.Ack{}) {
			t.Fatalf("answer %+v", m)
		}
		<-ticker.C
	}
	if st := s.service.Status(); st.Phase != cluster.Running {
		t.Errorf("the run is %s (%s)", st.Phase, st.Reason)
	}
}

func TestStrangeMessages(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	s.submit("a", 1)
	w := s.join("w0", "s1")
	w.hears(0, wire.Idle, isPlan)
	subject := wire.WorkerSubject("w0", "s1")
	refused(t, w.askData(subject, []byte("{")), "decode message")
	refused(t, w.askData(subject, []byte(`{"version":9}`)), "another version of the protocol: 9")
	refused(t, w.ask(subject, wire.Ack{}), "nothing that a worker says")
	refused(t, w.ask(subject, wire.Leave{Worker: "w1", Session: "s1"}), `belongs on the subject "pupil.from.w1.s1"`)
	old := s.as("w0", "s0") // a process of before, or one that calls itself so
	refused(t, old.ask(wire.WorkerSubject("w0", "s0"), old.registration()), "belongs to process 1 on h, which lives")
	leave := wire.Leave{Worker: "w0", Session: "s0"}
	refused(t, old.ask(wire.WorkerSubject("w0", "s0"), leave), "session s0 of worker w0 is over")
	end := wire.Ended{Worker: "w0", Run: "a", Generation: 1, Outcome: wire.Finished}
	refused(t, old.ask(wire.WorkerSubject("w0", "s0"), end), "not registered with this session")
	leave.Worker = "w5"
	other := s.as("w5", "s0")
	refused(t, other.ask(wire.WorkerSubject("w5", "s0"), leave), "there is no worker w5")
	end.Worker = "w9"
	refused(t, w.ask(subject, end), `belongs on the subject "pupil.from.w9.s1"`)
	for _, generation := range []uint64{0, 2} {
		text := fmt.Sprintf("generation %d", generation)
		refused(t, w.ask(subject, wire.CheckpointSaved{Worker: "w0", Run: "a", Generation: generation, Step: 3}), text)
		refused(t, w.ask(subject, wire.Ended{Worker: "w0", Run: "a", Generation: generation, Outcome: wire.Finished}), text)
	}
	second := s.join("w5", "s0") // of no part in the run
	end.Worker = "w5"
	refused(t, second.ask(wire.WorkerSubject("w5", "s0"), end), "no member")

	// Reports of others, of the past and of what was said are dropped.
	for _, r := range []wire.Report{
		{Worker: "w0", Run: "a", Generation: 1, Step: 4},
		{Worker: "w0", Run: "a", Generation: 1, Step: 4},
		{Worker: "w0", Run: "a", Generation: 1, Step: 3},
		{Worker: "w1", Run: "a", Generation: 1, Step: 9},
		{Worker: "w0", Run: "a", Generation: 2, Step: 9},
		{Worker: "w0", Run: "b", Generation: 1, Step: 9},
		{Worker: "w0", Run: "a", Generation: 1, Step: 5},
	} {
		if err := w.nc.Publish(subject, encode(t, r)); err != nil {
			t.Fatal(err)
		}
	}
	st := s.until("step 5", func(st control.Status) bool { return st.Step >= 5 })
	if st.Step != 5 || !slices.Equal(s.stepsOf("a"), []int{4, 5}) {
		t.Errorf("status %+v, reports of the steps %v", st, s.stepsOf("a"))
	}
}

// TestPermissions: a worker speaks for nobody else, and hears nothing that others are told.
func TestPermissions(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	s.submit("a", 9) // returns when the coordinator listens
	nc, denied := s.connect("w1 s")
	s.join("w0", "s")
	for _, subject := range []string{
		"pupil.to.w0.s", "pupil.to.w1.s", "pupil.from.w0.s", "pupil.from.w1.other", "pupil.inbox.w0.s.x", "pupil.ring.a.1.0", "pupil", "other",
		"$SYS.REQ.SERVER.PING",
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Publish", subject)
	}
	for _, subject := range []string{
		"pupil.from.>", "pupil.from.w1.s", "pupil.to.w0.s", "pupil.to.w1.*", "pupil.inbox.>", "pupil.inbox.w0.s.>", "pupil.ring.>", ">", "$SYS.>",
	} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Subscription", subject)
	}
	// The coordinator, which may publish everything, does not do it for a worker.
	spy := s.as("w0", "s")
	heard, err := spy.nc.SubscribeSync("pupil.inbox.w0.s.spy")
	if err != nil {
		t.Fatal(err)
	}
	if err := spy.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{[]byte("{"), encode(t, wire.Leave{Worker: "w1", Session: "s"})} {
		if err := nc.PublishRequest("pupil.from.w1.s", "pupil.inbox.w0.s.spy", data); err != nil {
			t.Fatal(err)
		}
	}
	w := &raw{s: s, nc: nc, id: "w1", session: "s"}
	refused(t, w.ask("pupil.from.w1.s", wire.Leave{Worker: "w1", Session: "s"}), "no worker w1") // so the others were heard
	if n, _, err := heard.Pending(); n != 0 || err != nil {
		t.Errorf("another worker heard %d answers, error %v", n, err)
	}
}

// TestRingPermissions: a rank's user reaches its ring and nothing else.
func TestRingPermissions(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	as := s.broker.Users().RingAccess("a", 3, 1, time.Time{})
	nc, denied := s.dial(as.User, as.Password, "ring", "pupil.inbox.none")
	for _, subject := range []string{"pupil.ring.a.2.0", "pupil.ring.b.3.0", "pupil.from.w0.s", "pupil.to.w0.s"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Publish", subject)
	}
	for _, subject := range []string{"pupil.ring.a.3.0", "pupil.ring.a.3.*", "pupil.ring.a.2.1", "pupil.ring.>", "pupil.inbox.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Subscription", subject)
	}
	mine, err := nc.SubscribeSync("pupil.ring.a.3.1")
	if err != nil {
		t.Fatal(err)
	}
	left := s.broker.Users().RingAccess("a", 3, 0, time.Time{})
	other, _ := s.dial(left.User, left.Password, "ring", "pupil.inbox.none")
	if err := errors.Join(nc.Flush(), other.Publish("pupil.ring.a.3.1", []byte("sum"))); err != nil {
		t.Fatal(err)
	}
	if m, err := mine.NextMsgWithContext(t.Context()); err != nil || string(m.Data) != "sum" {
		t.Errorf("heard %v, error %v", m, err)
	}
}

// TestNoAccess: who changes what his user says, or comes too late, is not let in.
func TestNoAccess(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	users := s.broker.Users()
	good := users.WorkerAccess("w0", "s", time.Now().Add(time.Hour), "")
	late := users.WorkerAccess("w0", "s", time.Now().Add(-time.Second), "")
	for name, as := range map[string]wire.Access{
		"another worker":  {User: strings.Replace(good.User, "w0", "w1", 1), Password: good.Password},
		"another session": {User: strings.Replace(good.User, " s ", " * ", 1), Password: good.Password},
		"for ever":        {User: "worker w0 s 0", Password: good.Password},
		"too late":        late,
		"all workers":     {User: "worker", Password: good.Password},
		"nobody":          {},
		"coordinator":     {User: "coordinator", Password: users.Worker},
		"wildcard":        users.WorkerAccess("*", "*", time.Time{}, ""),
		"wildcard ring":   users.RingAccess("*", 1, 0, time.Time{}),
		"words":           users.WorkerAccess("w0 s", "0", time.Time{}, ""),
	} {
		nc, err := nats.Connect(cmp.Or(s.url, s.broker.URL()), nats.UserInfo(as.User, as.Password), nats.NoReconnect())
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: error %v", name, err)
		}
		if nc != nil {
			nc.Close()
		}
	}
}

func TestWatch(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := s.service.Watch(ctx), s.service.Watch(t.Context())
	s.submit("a", 1)
	cancel()
	for range gone { // until it is closed
	}
	s.until("a", func(st control.Status) bool { return st.Run == "a" })
	s.end()
	var last control.Status
	for st := range stays {
		last = st
	}
	if last.Run != "a" || last.Phase != cluster.Waiting {
		t.Errorf("the last status is %+v", last)
	}
	if st, open := <-s.service.Watch(t.Context()); !open || st.Run != "a" {
		t.Errorf("after the end: %+v, %v", st, open)
	}
	if _, err := json.Marshal(last); err != nil {
		t.Error(err)
	}
}

// TestWorkersOfOtherBuilds refuses a worker whose protocol this build does not understand, and names both versions; it takes one
// of another build that speaks the same, and does not let those that compute other bits carry a run together.
func TestWorkersOfOtherBuilds(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	sub := submission("a", 2)
	sub.Workers = 2
	if err := s.service.Submit(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	s.join("w0", "a0")
	later := &raw{s: s, id: "w9", session: "a9"}
	later.nc, later.denied = s.connect("w9 a9")
	m, ok := later.askData(wire.WorkerSubject("w9", "a9"), []byte(`{"version":99,"kind":"register","body":{"form":"new"}}`)).(wire.Refused)
	if !ok || m.Retry || !strings.Contains(m.Reason, "version of the protocol: 99; this build (") || !strings.Contains(m.Reason, "upgrade the older one") {
		t.Errorf("the answer to version 99: %+v", m)
	}
	other := s.as("w1", "a1")
	r := other.registration()
	r.Build, r.Numerics = "next", 7
	if answer, ok := other.ask(wire.WorkerSubject("w1", "a1"), r).(wire.Registered); !ok {
		t.Errorf("the answer to another build: %+v", answer)
	}
	st := s.over(cluster.Failed)
	want(t, errors.New(st.Reason), "worker w0 (build test-1) computes with numerics 0", "w1 (build next) with 7", "upgrade one of them")
}
