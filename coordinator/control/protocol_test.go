package control_test

import (
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
	user, password := s.broker.Worker()
	denied := make(chan error, 100)
	nc, err := nats.Connect(s.broker.URL(), nats.UserInfo(user, password), nats.CustomInboxPrefix(wire.InboxPrefix),
		nats.Name(name), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc, denied
}

// join registers a worker.
func (s *site) join(id, session string) *raw {
	s.t.Helper()
	w := &raw{s: s, id: id, session: session, orders: make(chan *nats.Msg, 100)}
	w.nc, w.denied = s.connect(id + " " + session)
	if _, err := w.nc.ChanSubscribe(wire.PushSubject(id, session), w.orders); err != nil {
		s.t.Fatal(err)
	}
	if _, ok := w.ask(wire.RegisterSubject, w.registration()).(wire.Registered); !ok {
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
	m := wire.Heartbeat{Worker: w.id, Session: w.session, Generation: generation, Activity: a}
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
	subject := wire.RunSubject("a", 1)
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
	if _, ok := silent.ask(wire.RegisterSubject, silent.registration()).(wire.Registered); !ok {
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
	subject := wire.RunSubject("a", 1)
	refused(t, w.askData(wire.RegisterSubject, []byte("{")), "decode message")
	refused(t, w.askData(wire.RegisterSubject, []byte(`{"version":9}`)), "another version of the protocol: 9")
	refused(t, w.ask(wire.RegisterSubject, wire.Ack{}), "belongs on the subject")
	refused(t, w.ask(subject, wire.Leave{Worker: "w0", Session: "s1"}), `belongs on the subject "pupil.from.w0.s1"`)
	old := w.registration()
	old.Session = "s0"
	refused(t, w.ask(wire.RegisterSubject, old), "belongs to process 1 on h, which lives")
	leave := wire.Leave{Worker: "w0", Session: "s0"}
	refused(t, w.ask(wire.WorkerSubject("w0", "s0"), leave), "session s0 of worker w0 is over")
	leave.Worker = "w5"
	refused(t, w.ask(wire.WorkerSubject("w5", "s0"), leave), "there is no worker w5")
	for _, generation := range []uint64{0, 2} {
		text := fmt.Sprintf("generation %d", generation)
		late := wire.RunSubject("a", generation)
		refused(t, w.ask(late, wire.CheckpointSaved{Worker: "w0", Run: "a", Generation: generation, Step: 3}), text)
		refused(t, w.ask(late, wire.Ended{Worker: "w0", Run: "a", Generation: generation, Outcome: wire.Finished}), text)
	}
	refused(t, w.ask(subject, wire.Ended{Worker: "w9", Run: "a", Generation: 1, Outcome: wire.Finished}), "no member")

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
		if err := w.nc.Publish(wire.RunSubject(r.Run, r.Generation), encode(t, r)); err != nil {
			t.Fatal(err)
		}
	}
	st := s.until("step 5", func(st control.Status) bool { return st.Step >= 5 })
	if st.Step != 5 || !slices.Equal(s.stepsOf("a"), []int{4, 5}) {
		t.Errorf("status %+v, reports of the steps %v", st, s.stepsOf("a"))
	}
}

// TestPermissions: a worker cannot speak for the coordinator, nor listen to what others are told.
func TestPermissions(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	nc, denied := s.connect("curious")
	for _, subject := range []string{"pupil.to.w0.s", "pupil.inbox.x", "pupil", "other", "$SYS.REQ.SERVER.PING"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Publish", subject)
	}
	for _, subject := range []string{"pupil.from.>", "pupil.run.>", wire.RegisterSubject, ">", "$SYS.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want(t, <-denied, "Permissions Violation for Subscription", subject)
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
	old := s.join("w0", "a0")
	later := &raw{s: s, id: "w9", session: "a9"}
	later.nc, later.denied = s.connect("w9 a9")
	m, ok := later.askData(wire.RegisterSubject, []byte(`{"version":99,"kind":"register","body":{"form":"new"}}`)).(wire.Refused)
	if !ok || m.Retry || !strings.Contains(m.Reason, "version of the protocol: 99; this build (") || !strings.Contains(m.Reason, "upgrade the older one") {
		t.Errorf("the answer to version 99: %+v", m)
	}
	r := (&raw{s: s, id: "w1", session: "a1"}).registration()
	r.Build, r.Numerics = "next", 7
	if answer, ok := old.ask(wire.RegisterSubject, r).(wire.Registered); !ok {
		t.Errorf("the answer to another build: %+v", answer)
	}
	st := s.over(cluster.Failed)
	want(t, errors.New(st.Reason), "worker w0 (build test-1) computes with numerics 0", "w1 (build next) with 7", "upgrade one of them")
}
