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

	"pupil/allreduce"
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

	patience time.Duration // of workers without it
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
	for _, subject := range []string{wire.WorkerSubjects} {
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

// hear waits for a message for which ok holds, answering what comes before it: heartbeats, and what a slow machine has made
// the worker say again before it heard an answer.
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
			switch m.(type) {
			case wire.Heartbeat, wire.Began, wire.CheckpointSaved, wire.Ended, wire.Draining:
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
	ended := c.run(context.Background(), t, func(to *agent.Config) { to.Patience = c.patience })
	m, msg := hear(c, always[wire.Register])
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	_, msg = hear(c, always[wire.Heartbeat])
	c.answer(msg, wire.Ack{})
	return ended
}

func (c *coordinator) run(ctx context.Context, t agent.Trainer, change func(*agent.Config)) <-chan error {
	ended := make(chan error, 1)
	config := agent.Config{
		URL: c.server.ClientURL(), ID: "w.0", Threads: 2, Version: "v", Kernel: "generic",
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	}
	change(&config)
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
		for s.Requested() != agent.Stop {
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
		wire.Pause{Generation: 7, Reason: "early"},
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
	stop, drain := stopper(stopped), make(chan struct{})
	ended := c.run(t.Context(), stop, func(c *agent.Config) { c.Drain = drain })
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
	earlier := plan()
	earlier.Generation = 6
	c.send(c.push, earlier)
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
	c.send(c.push, wire.Abort{Generation: 7, Reason: "the run is stopped"})
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Idle && m.Generation == 7 })

	// The next plan is carried by the same session; then the worker is asked to leave.
	next := plan()
	next.Generation = 8
	c.send(c.push, next)
	hear(c, func(m wire.Report) bool { return m.Generation == 8 })
	_, msg = hear(c, func(m wire.CheckpointSaved) bool { return m.Generation == 8 })
	c.answer(msg, wire.Ack{})
	close(drain)
	if m, msg := hear(c, always[wire.Draining]); m.Worker != "w.0" || m.Reason == "" {
		t.Errorf("draining %+v", m)
	} else {
		c.answer(msg, wire.Ack{})
	}
	c.send(c.push, wire.Stop{Generation: 8, Reason: "worker w.0 leaves"})
	<-stopped
	_, msg = hear(c, func(m wire.Ended) bool { return m.Generation == 8 && m.Outcome == wire.Stopped })
	c.answer(msg, wire.Ack{})
	c.send(c.push, wire.Abort{Generation: 8, Reason: "generation 9 goes on without it"})
	_, msg = hear(c, always[wire.Leave])
	c.answer(msg, wire.Ack{})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestCoordinatorGone lets a worker lose its coordinator in all its phases.
func TestCoordinatorGone(t *testing.T) {
	end := func(c *coordinator) { c.end() }
	says := func(c *coordinator) { c.send(c.push, wire.Abort{Reason: "it was ended"}) }
	for _, c := range []struct {
		name string
		how  func(*coordinator)
		want string
	}{{"ended", end, ""}, {"says so", says, "it was ended"}} {
		for _, training := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s training=%v", c.name, training), func(t *testing.T) {
				coordinator := newCoordinator(t)
				coordinator.patience = time.Second
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

// TestForgotten: a worker that the coordinator has given up ends its part and joins again, as another session.
func TestForgotten(t *testing.T) {
	c := newCoordinator(t)
	ended := c.registered(train(block))
	first := c.push
	c.send(c.push, plan())
	_, msg := hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Training })
	c.answer(msg, wire.Refused{Reason: "who are you"})
	m, msg := hear(c, always[wire.Register])
	if c.push = wire.PushSubject(m.Worker, m.Session); c.push == first {
		t.Error("it comes with the session that is over")
	}
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Idle && m.Generation == 0 })
	c.send(c.push, wire.Abort{Reason: "it was ended"})
	if err := <-ended; !errors.Is(err, agent.ErrCoordinatorGone) {
		t.Error(err)
	}
}

// TestSilence: a coordinator that does not answer is waited for.
func TestSilence(t *testing.T) {
	c := newCoordinator(t)
	ended := c.registered(train(block))
	for range 20 { // of 50 ms each; the timeout is 300 ms
		select {
		case <-c.heard:
		case err := <-ended:
			t.Fatal(err)
		}
	}
	c.send(c.push, plan())
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Training })
	c.send(c.push, wire.Abort{Reason: "it was ended"})
	if err := <-ended; !errors.Is(err, agent.ErrCoordinatorGone) {
		t.Error(err)
	}
}

// TestNextGeneration: a plan of a newer generation ends the part at once, without a word about it. An error of the
// trainer's own fails the job; one that follows from something else is told as an interruption, unless the coordinator
// says what lies behind it.
func TestNextGeneration(t *testing.T) {
	fails := func(err error) train {
		return func(context.Context, agent.Assignment, agent.Session) (agent.Outcome, error) {
			return agent.Outcome{}, err
		}
	}
	// The ring's own end ends the part's context too; the coordinator hears of it all the same.
	alone := func(ctx context.Context, _ agent.Assignment, s agent.Session) (agent.Outcome, error) {
		return agent.Outcome{}, s.Ring().Commit(ctx, 5)
	}
	for _, c := range []struct {
		name    string
		train   train
		outcome wire.Outcome
		want    string
	}{
		{"ring without the others", alone, wire.Interrupted, "no progress"},
		{"newer plan", block, "", ""},
		{"error of its own", fails(errors.New("the disk is full")), wire.Failed, "the disk is full"},
		{"broken ring", fails(fmt.Errorf("step 6: %w", allreduce.ErrDeadline)), wire.Interrupted, "step 6: no progress"},
	} {
		t.Run(c.name, func(t *testing.T) {
			coordinator := newCoordinator(t)
			ended := coordinator.registered(c.train)
			first := plan()
			first.Deadline = 50 * time.Millisecond
			first.Members = []wire.Member{{ID: "w.0", Lanes: []int{0, 1}}, {ID: "w.1", Lanes: []int{}}}
			coordinator.send(coordinator.push, first)
			if c.outcome != "" {
				m, msg := hear(coordinator, always[wire.Ended])
				if m.Outcome != c.outcome || !strings.Contains(m.Error, c.want) || m.Generation != 7 {
					t.Errorf("end %+v", m)
				}
				coordinator.answer(msg, wire.Ack{})
			} else {
				hear(coordinator, func(m wire.Heartbeat) bool { return m.Generation == 7 })
			}
			next := plan()
			next.Generation = 8
			coordinator.send(coordinator.push, next)
			hear(coordinator, func(m wire.Heartbeat) bool { return m.Generation == 8 })
			coordinator.send(coordinator.push, wire.Abort{Generation: 8, Reason: "w1 was lost"})
			hear(coordinator, func(m wire.Heartbeat) bool { return m.Generation == 8 && m.Activity == wire.Idle })
			coordinator.send(coordinator.push, wire.Abort{Reason: "it was ended"})
			if err := <-ended; !errors.Is(err, agent.ErrCoordinatorGone) {
				t.Error(err)
			}
		})
	}
}

// TestGrace: a worker whose lanes nobody takes leaves all the same.
func TestGrace(t *testing.T) {
	c := newCoordinator(t)
	drain := make(chan struct{})
	ended := c.run(context.Background(), train(block), func(c *agent.Config) { c.Drain, c.Grace = drain, 200*time.Millisecond })
	m, msg := hear(c, always[wire.Register])
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	c.send(c.push, plan())
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Training })
	close(drain)
	_, msg = hear(c, always[wire.Draining])
	c.answer(msg, wire.Ack{})
	_, msg = hear(c, always[wire.Leave])
	c.answer(msg, wire.Ack{})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "within the grace period of 200ms") {
		t.Errorf("error %v", err)
	}
}

// TestGraceAlone: without a coordinator a worker leaves when the grace is over, and does not wait for an answer to its goodbye.
func TestGraceAlone(t *testing.T) {
	c := newCoordinator(t)
	drain := make(chan struct{})
	ended := c.run(context.Background(), train(block), func(c *agent.Config) {
		c.Drain, c.Grace, c.Patience = drain, 200*time.Millisecond, time.Hour
	})
	m, msg := hear(c, always[wire.Register])
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: time.Hour})
	c.send(c.push, plan())
	hear(c, func(m wire.Heartbeat) bool { return m.Activity == wire.Training })
	c.end()
	close(drain)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "within the grace period of 200ms: no coordinator answers") {
		t.Errorf("error %v", err)
	}
}
