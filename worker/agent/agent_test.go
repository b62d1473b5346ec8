package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

func TestMain(m *testing.M) {
	code := m.Run()
	buffer := make([]byte, 1<<20)
	stacks := string(buffer[:runtime.Stack(buffer, true)])
	if strings.Contains(stacks, "pupil/worker/agent.") && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines that have not ended:\n"+stacks)
		code = 1
	}
	os.Exit(code)
}

// coordinator is the other side, played by the test message by message over a real server. The whole conversation with
// the real one is tested in coordinator/control.
type coordinator struct {
	t      *testing.T
	server *server.Server
	nc     *nats.Conn
	heard  chan *nats.Msg
	push   string // the worker's subject
	ring   string // where the worker listens for ring data
}

func newCoordinator(t *testing.T) *coordinator {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server takes no connections")
	}
	c := &coordinator{t: t, server: s, heard: make(chan *nats.Msg, 1000)}
	if c.nc, err = nats.Connect(s.ClientURL(), nats.NoReconnect()); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{wire.RegisterSubject, wire.WorkerSubjects, wire.RunSubjects} {
		if _, err := c.nc.ChanSubscribe(subject, c.heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	return c
}

func (c *coordinator) end() {
	c.nc.Close()
	c.server.Shutdown()
	c.server.WaitForShutdown()
}

// hear waits for a message for which ok holds, answering heartbeats before it.
func hear[T wire.Message](c *coordinator, ok func(T) bool) (T, *nats.Msg) {
	c.t.Helper()
	for {
		select {
		case msg := <-c.heard:
			m, err := wire.Decode(msg.Data)
			if err != nil {
				c.t.Fatal(err)
			}
			if t, is := m.(T); is && ok(t) {
				return t, msg
			}
			if _, is := m.(wire.Heartbeat); is {
				c.answer(msg, wire.Ack{})
			}
		case <-c.t.Context().Done():
			var none T
			c.t.Fatalf("no %T came", none)
		}
	}
}

func always[T any](T) bool { return true }

func (c *coordinator) answer(to *nats.Msg, m wire.Message) { c.send(to.Reply, m) }

func (c *coordinator) send(subject string, m wire.Message) {
	c.t.Helper()
	data, err := wire.Encode(m)
	if err == nil {
		err = c.nc.Publish(subject, data)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// registered runs an agent and lets it join.
func (c *coordinator) registered(t agent.Trainer) <-chan error {
	c.t.Helper()
	ended := c.run(context.Background(), t)
	m, msg := hear(c, always[wire.Register])
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	_, msg = hear(c, always[wire.Heartbeat])
	c.answer(msg, wire.Ack{})
	return ended
}

func (c *coordinator) run(ctx context.Context, t agent.Trainer) <-chan error {
	ended := make(chan error, 1)
	config := agent.Config{
		URL: c.server.ClientURL(), ID: "w.0", Threads: 2, Version: "v", Kernel: "generic", RingListen: c.ring,
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- agent.Run(ctx, config, t)
	}()
	c.t.Cleanup(func() { <-done })
	return ended
}

func plan() wire.Plan {
	return wire.Plan{
		Generation: 7, Run: "r", Spec: &job.Spec{Lanes: 2}, Digest: "d", Storage: "file:///nowhere", LaneCount: 2,
		Members: []wire.Member{{ID: "w.0", Lanes: []int{0, 1}}}, RestoreStep: 5, RingPrefix: wire.RingPrefix("r"),
		Deadline: time.Minute,
	}
}

// train is a Trainer.
type train func(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error)

func (f train) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	return f(ctx, a, s)
}

func block(ctx context.Context, _ agent.Assignment, _ agent.Session) (agent.Outcome, error) {
	<-ctx.Done()
	return agent.Outcome{}, fmt.Errorf("step 6: %w", context.Cause(ctx))
}

// stopper makes one step, waits until it is asked to stop, and says what it was assigned.
func stopper(stopped chan<- agent.Assignment) train {
	return func(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
		if err := s.Ring().Commit(ctx, 5); err != nil {
			return agent.Outcome{}, err
		}
		s.SetTimes(6, wire.Times{Compute: 1, Wait: 2, Send: 3})
		s.Report(wire.Report{Step: 6, Total: 9, Loss: 0.5})
		s.Checkpointed(6)
		for !s.StopRequested() {
			runtime.Gosched()
		}
		stopped <- a
		return agent.Outcome{Kind: wire.Stopped, Step: 6, WeightsSHA256: "ab"}, nil
	}
}

// sendNonsense sends orders that make no sense to a worker without a plan, and change nothing.
func (c *coordinator) sendNonsense() {
	c.t.Helper()
	for _, m := range []wire.Message{
		wire.Ack{},
		wire.Stop{Generation: 7, Reason: "early"},
		wire.Abort{Generation: 7, Reason: "early"},
		wire.Dismiss{Generation: 7},
	} {
		c.send(c.push, m)
	}
	if err := c.nc.Publish(c.push, []byte("{")); err != nil {
		c.t.Fatal(err)
	}
	other := plan()
	other.Members = []wire.Member{{ID: "w.1", Lanes: []int{0, 1}}}
	c.send(c.push, other)
}

// TestConversation follows a worker from its registration to its goodbye, with answers that are late or missing.
func TestConversation(t *testing.T) {
	c := newCoordinator(t)
	stopped := make(chan agent.Assignment, 1)
	stop := stopper(stopped)
	ended := c.run(t.Context(), stop)
	m, msg := hear(c, always[wire.Register])
	if m.Worker != "w.0" || m.PID != os.Getpid() || m.Threads != 2 || m.Build != "v" || m.Kernel != "generic" {
		t.Errorf("registration %+v", m)
	}
	c.answer(msg, wire.Refused{Reason: "wait for another", Retry: true})
	again, msg := hear(c, always[wire.Register])
	if again != m {
		t.Errorf("then %+v", again)
	}
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 20 * time.Millisecond, Timeout: time.Minute})
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Idle && m.Generation == 0 })

	c.sendNonsense()
	c.send(c.push, plan())
	c.send(c.push, plan())
	later := plan()
	later.Generation = 8
	c.send(c.push, later)
	if r, _ := hear(c, always[wire.Report]); r.Worker != "w.0" || r.Run != "r" || r.Generation != 7 || r.Loss != 0.5 {
		t.Errorf("report %+v", r)
	}
	hear(c, always[wire.CheckpointSaved]) // not answered
	saved, msg := hear(c, always[wire.CheckpointSaved])
	if saved != (wire.CheckpointSaved{Worker: "w.0", Run: "r", Generation: 7, Step: 6}) {
		t.Errorf("checkpoint %+v", saved)
	}
	c.answer(msg, wire.Ack{})
	c.send(c.push, wire.Stop{Generation: 6, Reason: "stale"})
	c.send(c.push, wire.Abort{Generation: 6, Reason: "stale"})
	beat, _ := hear(c, func(m wire.Heartbeat) bool { return m.Generation == 7 && m.Step == 6 })
	if beat.Activity != wire.Training || beat.Times != (wire.Times{Compute: 1, Wait: 2, Send: 3}) {
		t.Errorf("heartbeat %+v", beat)
	}
	c.send(c.push, wire.Stop{Generation: 7, Reason: "enough"})
	a := <-stopped
	if a.Rank != 0 || a.Size != 1 || len(a.Lanes) != 2 || a.RestoreStep != 5 || a.Spec.Lanes != 2 {
		t.Errorf("assignment %+v", a)
	}
	hear(c, always[wire.Ended]) // not answered
	end, msg := hear(c, always[wire.Ended])
	want := wire.Ended{Worker: "w.0", Run: "r", Generation: 7, Outcome: wire.Stopped, Step: 6, WeightsSHA256: "ab"}
	if end != want {
		t.Errorf("end %+v, want %+v", end, want)
	}
	c.answer(msg, wire.Ack{})
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Done })
	c.send(c.push, wire.Dismiss{Generation: 7})
	_, msg = hear(c, always[wire.Leave])
	c.answer(msg, wire.Ack{})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestCoordinatorGone lets a worker lose its coordinator in all its phases.
func TestCoordinatorGone(t *testing.T) {
	silent := func(*coordinator) {}
	refuse := func(c *coordinator) {
		_, msg := hear(c, always[wire.Heartbeat])
		c.answer(msg, wire.Refused{Reason: "who are you"})
	}
	end := func(c *coordinator) { c.end() }
	says := func(c *coordinator) { c.send(c.push, wire.Abort{Reason: "it was ended"}) }
	for _, c := range []struct {
		name string
		how  func(*coordinator)
		want string
	}{
		{"silent", silent, "it has not answered for 300ms"},
		{"refuses", refuse, "who are you"},
		{"ended", end, ""},
		{"says so", says, "it was ended"},
	} {
		for _, training := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s training=%v", c.name, training), func(t *testing.T) {
				coordinator := newCoordinator(t)
				ended := coordinator.registered(train(block))
				if training {
					coordinator.send(coordinator.push, plan())
					hear(coordinator, func(m wire.Heartbeat) bool { return m.Activity == wire.Training })
				}
				c.how(coordinator)
				err := <-ended
				if !errors.Is(err, agent.ErrCoordinatorGone) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v", err)
				}
			})
		}
	}
}

func TestAbort(t *testing.T) {
	for _, c := range []struct {
		name  string
		train train
		want  string
	}{
		{"cause", block, "the coordinator ended generation 7: w1 was lost"},
		{"error of its own", func(ctx context.Context, _ agent.Assignment, _ agent.Session) (agent.Outcome, error) {
			<-ctx.Done()
			return agent.Outcome{}, errors.New("the disk is full")
		}, "the disk is full"},
		{"error of the ring", func(ctx context.Context, _ agent.Assignment, s agent.Session) (agent.Outcome, error) {
			for step := uint64(5); ; step++ {
				if err := s.Ring().Commit(context.WithoutCancel(ctx), step); err != nil {
					return agent.Outcome{}, err
				}
			}
		}, "the coordinator ended generation 7: w1 was lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			coordinator := newCoordinator(t)
			ended := coordinator.registered(c.train)
			coordinator.send(coordinator.push, plan())
			coordinator.send(coordinator.push, wire.Abort{Generation: 7, Reason: "w1 was lost"})
			m, msg := hear(coordinator, always[wire.Ended])
			if m.Outcome != wire.Failed || m.Error != c.want {
				t.Errorf("end %+v", m)
			}
			coordinator.answer(msg, wire.Ack{})
			_, msg = hear(coordinator, always[wire.Leave])
			coordinator.answer(msg, wire.Ack{})
			if err := <-ended; err == nil || err.Error() != c.want {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestEndIsNotHeard: a worker that cannot tell how its part ended has not done it, and does not wait for ever.
func TestEndIsNotHeard(t *testing.T) {
	c := newCoordinator(t)
	ended := c.registered(train(func(context.Context, agent.Assignment, agent.Session) (agent.Outcome, error) {
		return agent.Outcome{Kind: wire.Finished, Step: 9}, nil
	}))
	c.send(c.push, plan())
	_, msg := hear(c, always[wire.Ended])
	c.answer(msg, wire.Refused{Reason: "generation 7 is over"})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "tell how the job ended") {
		t.Errorf("error %v", err)
	}

	ended = c.registered(train(func(context.Context, agent.Assignment, agent.Session) (agent.Outcome, error) {
		return agent.Outcome{Kind: "happy"}, nil
	}))
	c.send(c.push, plan())
	m, msg := hear(c, always[wire.Ended])
	c.answer(msg, wire.Refused{Reason: "generation 7 is over"})
	if err := <-ended; err == nil || m.Error != err.Error() || !strings.Contains(m.Error, `the outcome "happy"`) {
		t.Errorf("end %+v, error %v", m, err)
	}
}
