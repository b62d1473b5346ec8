package control_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/internal/freeport"
	"pupil/worker/agent"
)

// term is the service of one leader.
type term struct {
	*control.Service
	end func()
}

// lead serves on a site's broker and log. A worker that is silent for the timeout is lost.
func (s *site) lead(name string, link control.Link, timeout time.Duration) term {
	s.t.Helper()
	c := control.DefaultConfig()
	c.Broker, c.Log, c.Version, c.Leader, c.Timeout = link, s.log, version, name, timeout
	c.Logger = slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("on", name)
	service, err := control.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t := term{Service: service, end: func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	}}
	s.service = service
	return t
}

// TestLeaders lets a leader follow another one in mid-run, several times. The workers notice nothing: the run ends in its
// first generation, with nobody lost.
func TestLeaders(t *testing.T) {
	t.Parallel()
	credentials := control.NewCredentials()
	s := &site{t: t}
	var err error
	if s.broker, err = control.StartBroker(control.BrokerOptions{Credentials: &credentials}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.broker.Close)
	if s.log, err = raftlog.Open(t.Context(), filepath.Join(t.TempDir(), "raft"), raftlog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	link, err := control.NewRemote(s.broker.URL(), credentials, nil)
	if err != nil {
		t.Fatal(err)
	}
	leader := s.lead("c0", link, time.Minute)
	s.submit("a", 2)
	const steps = 20
	reached, goOn := make(chan struct{}), make(chan struct{})
	workers := s.works(2, &trainer{steps: steps, after: func(a agent.Assignment, step int) error {
		if step%5 == 0 && step < steps && a.Rank == 1 {
			reached <- struct{}{}
			<-goOn
		}
		return nil
	}})
	for i := 1; i <= 3; i++ {
		<-reached
		leader.end()
		if i == 2 { // steps without a leader
			goOn <- struct{}{}
			leader = s.lead(fmt.Sprintf("c%d", i), link, time.Minute)
			continue
		}
		leader = s.lead(fmt.Sprintf("c%d", i), link, time.Minute)
		goOn <- struct{}{}
	}
	st := s.over(cluster.Finished)
	for _, w := range workers { // before the leader, which they say goodbye to
		w.end(nil)
		_ = w.result(t)
	}
	leader.end()
	if st.Step != steps || st.Generation != 1 || st.Weights != weights(steps) {
		t.Errorf("status %+v", st)
	}
	leads := 0
	for _, e := range st.Events {
		if strings.HasSuffix(e.Text, " leads") {
			leads++
		}
		if strings.Contains(e.Text, "lost") {
			t.Errorf("event %s", e.Text)
		}
	}
	if leads != 4 {
		t.Errorf("%d leaders in the events, want 4", leads)
	}
}

func TestRemote(t *testing.T) {
	users := control.NewCredentials()
	for _, address := range []string{"", "http://h:1", "nats://", "nats://u:p@h:1", "nats://h:1,h2"} {
		if _, err := control.NewRemote(address, users, nil); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
	if _, err := control.NewRemote("nats://h:1", control.Credentials{Worker: "short"}, nil); err == nil {
		t.Error("short passwords are taken")
	}
}

// TestSecrets makes files of secrets: for their owner alone, once, the same for all that ask at the same time.
func TestSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	file, token := filepath.Join(dir, "broker.json"), filepath.Join(dir, "token")
	if _, err := control.LoadCredentials(file, false); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: error %v", err)
	}
	tokens := make(chan string)
	for range 8 {
		go func() {
			s, err := control.LoadToken(token, true)
			if err != nil {
				t.Error(err)
			}
			tokens <- s
		}()
	}
	first := <-tokens
	for range 7 {
		if other := <-tokens; other != first {
			t.Errorf("tokens %s and %s", first, other)
		}
	}
	a, err := control.LoadCredentials(file, true)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := control.LoadCredentials(file, true); err != nil || b != a {
		t.Errorf("again: %v, error %v", b, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files %v, error %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, error %v", e.Name(), info.Mode(), err)
		}
	}
	for name, text := range map[string]string{"short": "{\"worker\": \"x\"}", "broken": "{"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := control.LoadCredentials(path, true); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := control.LoadToken(path, true); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestBrokerRestart takes the broker away for longer than the workers' leases last, and gives it back at the same
// address. The coordinator holds that against nobody.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	credentials := control.NewCredentials()
	s := &site{t: t}
	var err error
	port := portOf(t, freeport.Loopback(t))
	if s.broker, err = control.StartBroker(control.BrokerOptions{Credentials: &credentials, Port: port}); err != nil {
		t.Fatal(err)
	}
	if s.log, err = raftlog.Open(t.Context(), filepath.Join(t.TempDir(), "raft"), raftlog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	link, err := control.NewRemote(s.broker.URL(), credentials, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.lead("c0", link, time.Second)
	defer c.end()
	s.work("w0", &trainer{})
	joined := s.until("the worker", func(st control.Status) bool { return len(st.Workers) == 1 && st.Workers[0].Heard.After(time.Time{}) })
	s.broker.Close()
	if s.broker, err = control.StartBroker(control.BrokerOptions{Credentials: &credentials, Port: port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.broker.Close)
	s.until("a heartbeat after the restart", func(st control.Status) bool {
		if len(st.Workers) == 0 {
			t.Fatalf("the worker is gone: %+v", st.Events)
		}
		return st.Workers[0].Heard.Sub(joined.Workers[0].Heard) > 0 && st.Workers[0].Session == joined.Workers[0].Session
	})
}

// TestSideBySide carries two runs at a time by workers that go from one to the other.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	first := submission("a", 1)
	first.MaxWorkers = 1
	if err := s.service.Submit(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.submit("b", 1)
	reached, goOn := make(chan struct{}), make(chan struct{})
	work := &trainer{steps: 12, after: func(a agent.Assignment, step int) error {
		if a.Run == "a" && step == 4 {
			close(reached)
			<-goOn
		}
		return nil
	}}
	s.works(3, work)
	<-reached
	st := s.until("the end of b, while a goes on", func(st control.Status) bool {
		b := st.State.Run("b")
		return b != nil && b.Phase.Over()
	})
	if a := st.State.Run("a"); a.Phase != cluster.Running || len(a.Plan.Members) != 1 || st.Reports["a"] == nil {
		t.Errorf("a is %+v", a)
	}
	if b := st.State.Run("b"); b.Phase != cluster.Finished || b.Weights != weights(12) {
		t.Errorf("b is %+v", b)
	}
	close(goOn)
	st = s.until("the end of a", func(st control.Status) bool { return st.State.Run("a").Phase.Over() })
	if a := st.State.Run("a"); a.Phase != cluster.Finished || a.Weights != weights(12) {
		t.Errorf("a is %+v", a)
	}
}

// TestNoLongerLeader: a service whose log is gone, as that of a leader that stood still while another one was chosen, does
// not answer what it cannot know. Its worker asks again, and finds the one that leads.
func TestNoLongerLeader(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]wire.Message{
		"heartbeat of a worker that it does not know": wire.Heartbeat{Worker: "w9", Session: "s", Activity: wire.Idle},
		"leave": wire.Leave{Worker: "w9", Session: "s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{t: t}
			var err error
			if s.broker, err = control.StartBroker(control.BrokerOptions{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.broker.Close)
			if s.log, err = raftlog.Open(t.Context(), filepath.Join(t.TempDir(), "raft"), raftlog.Options{}); err != nil {
				t.Fatal(err)
			}
			c := control.DefaultConfig()
			c.Broker, c.Log, c.Version, c.Leader = s.broker, s.log, version, "c0"
			service, err := control.New(c)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- service.Run(t.Context()) }()
			s.service = service
			s.until("the beginning", func(st control.Status) bool { return st.State != nil })
			if err := s.log.Close(); err != nil {
				t.Fatal(err)
			}
			as := s.broker.Users().WorkerAccess("w9", "s", time.Time{}, "")
			nc, err := nats.Connect(s.broker.URL(), nats.UserInfo(as.User, as.Password), nats.CustomInboxPrefix(wire.InboxPrefix("w9", "s")))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			data, err := wire.Encode(m)
			if err != nil {
				t.Fatal(err)
			}
			asking, cancel := context.WithCancel(t.Context())
			answer := make(chan *nats.Msg, 1)
			go func() {
				reply, _ := nc.RequestWithContext(asking, wire.WorkerSubject("w9", "s"), data)
				answer <- reply
			}()
			if err := <-ended; !errors.Is(err, raftlog.ErrClosed) {
				t.Errorf("the service ended with %v", err)
			}
			cancel()
			if reply := <-answer; reply != nil && len(reply.Data) > 0 {
				t.Errorf("it answered %s", reply.Data)
			}
		})
	}
}
