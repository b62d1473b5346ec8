package control_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/peer/peertest"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/freeport"
)

// brokers starts several in one cluster, and waits until each reaches the others.
func brokers(t *testing.T, n int, users control.Credentials, tls *certificate.Source) []*control.Broker {
	t.Helper()
	var ports []int
	var routes []string
	for range n {
		address := freeport.Loopback(t)
		ports, routes = append(ports, portOf(t, address)), append(routes, address)
	}
	var all []*control.Broker
	for i := range n {
		b, err := control.StartBroker(control.BrokerOptions{
			Credentials: &users, Name: fmt.Sprintf("b%d", i), TLS: tls,
			Routes: &control.Routes{Host: "127.0.0.1", Port: ports[i], Peers: append(append([]string{}, routes[:i]...), routes[i+1:]...)},
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("on", fmt.Sprintf("b%d", i)),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		all = append(all, b)
	}
	for _, b := range all {
		reaches(t, b, n-1)
	}
	return all
}

// portOf is the port of an address.
func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reaches waits until a broker has routes to so many others, and their clients' addresses.
func reaches(t *testing.T, b *control.Broker, n int) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for b.Peers() != n || len(strings.Split(b.URL(), ",")) != n+1 {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("it reaches %d others", b.Peers())
		}
	}
}

// only is where one broker listens.
func only(b *control.Broker) string { return fmt.Sprintf("nats://127.0.0.1:%d", b.Port()) }

// apart is a site whose workers look for one broker.
func apart(t *testing.T, b *control.Broker) *site {
	t.Helper()
	s := &site{t: t, broker: b, url: only(b)}
	var err error
	if s.log, err = raftlog.Open(t.Context(), filepath.Join(t.TempDir(), "raft"), raftlog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestBrokers has the leader at one broker and the workers at another. The death of a worker there is heard at once; the end of
// that broker is nobody's death, and the run goes on in its generation.
func TestBrokers(t *testing.T) {
	all := brokers(t, 3, control.NewCredentials(), nil)
	s := apart(t, all[1])
	leader := s.lead("c0", all[0], time.Minute) // so that no lease runs out by itself
	defer leader.end()
	s.submit("a", 3)
	child := s.child()
	w := s.works(2, &trainer{steps: 1 << 30})
	s.until("some steps", func(st control.Status) bool { return st.Step > 20 })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	st := s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting && st.Generation > 0 })
	want(t, errors.New(st.Reason), "worker child was lost: its connection closed", "2 of 3 workers are left")
	w = append(w, s.work("w2", &trainer{steps: 1 << 30}))
	st = s.until("more steps", func(st control.Status) bool { return st.Phase == cluster.Running && st.Generation == 2 && st.Step > 40 })

	all[1].Close()
	reaches(t, all[0], 1)
	before := st.Step
	after := s.until("steps without the broker", func(st control.Status) bool {
		if st.Generation != 2 || len(st.Workers) != 3 {
			t.Fatalf("status %+v", st)
		}
		return st.Step > before+100
	})
	for i, was := range st.Workers {
		if is := after.Workers[i]; is.Session != was.Session || is.ID != was.ID {
			t.Errorf("worker %s of session %s is now %s of session %s", was.ID, was.Session, is.ID, is.Session)
		}
	}
	if err := s.service.Stop(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	leave(t, s.ended(cluster.Stopped, w)...)
}

// TestBrokersTLS carries a run over brokers that ask for certificates, the leader at the one and the workers at the other.
func TestBrokersTLS(t *testing.T) {
	files := peertest.Open(t, peertest.Certificates(t, "127.0.0.1"))
	all := brokers(t, 2, control.NewCredentials(), files)
	s := apart(t, all[1])
	s.url, s.tls = "tls"+strings.TrimPrefix(s.url, "nats"), files
	leader := s.lead("c0", all[0], time.Minute)
	defer leader.end()
	s.submit("a", 2)
	w := s.works(2, &trainer{steps: 50})
	if st := s.over(cluster.Finished); st.Weights != weights(50) {
		t.Errorf("status %+v", st)
	}
	leave(t, w...)
}

// TestLeftBroker: the end of a connection that a worker has left for another broker's means nothing, however late it comes.
func TestLeftBroker(t *testing.T) {
	users := control.NewCredentials()
	all := brokers(t, 2, users, nil)
	s := apart(t, all[1])
	leader := s.lead("c0", all[0], time.Minute)
	defer leader.end()
	s.submit("a", 1)
	w := s.join("w0", "s1")
	w.hears(0, wire.Idle, isPlan)
	old := w.nc
	s.url = only(all[0])
	w.nc, w.denied = s.connect("w0 s1")
	w.beat(1, wire.Training)

	monitor, err := nats.Connect(only(all[0]), nats.UserInfo("monitor", users.Monitor))
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	closings, err := monitor.SubscribeSync("$SYS.ACCOUNT.PUPIL.DISCONNECT")
	if err != nil {
		t.Fatal(err)
	}
	if err := monitor.Flush(); err != nil {
		t.Fatal(err)
	}
	old.Close()
	if _, err := closings.NextMsgWithContext(t.Context()); err != nil { // the coordinator hears it, too
		t.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range 40 { // for longer than a worker may take that has to come back; none of its heartbeats comes meanwhile
		if st := s.service.Status(); st.Phase != cluster.Running {
			t.Fatalf("the run is %s (%s)", st.Phase, st.Reason)
		}
		<-ticker.C
	}
	if m := w.beat(1, wire.Training); m != wire.Message(wire.Ack{}) {
		t.Fatalf("answer %+v", m)
	}
	// The end of the connection that is in use is its death.
	w.nc.Close()
	st := s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting })
	want(t, errors.New(st.Reason), "worker w0 was lost: its connection closed")
}

// TestBrokersApart: a broker without the credentials, the certificates or the name of the others is none of them, and their
// route port lets nobody in.
func TestBrokersApart(t *testing.T) {
	ours, others := peertest.Open(t, peertest.Certificates(t, "127.0.0.1")), peertest.Open(t, peertest.Certificates(t, "127.0.0.1"))
	named := peertest.Open(t, peertest.Certificates(t, "elsewhere.example"))
	right := control.NewCredentials()
	for name, c := range map[string]struct {
		here, there *certificate.Source
		users       control.Credentials
		peers       int
	}{
		"plain":         {nil, nil, right, 1},
		"TLS":           {ours, ours, right, 1},
		"credentials":   {nil, nil, control.NewCredentials(), 0},
		"authority":     {ours, others, right, 0},
		"another host":  {named, named, right, 0},
		"plain to TLS":  {ours, nil, right, 0},
		"TLS to plain":  {nil, ours, right, 0},
		"only password": {ours, ours, control.NewCredentials(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard := &lines{heard: make(chan struct{})}
			start := func(name string, users control.Credentials, tls *certificate.Source, peers ...string) *control.Broker {
				b, err := control.StartBroker(control.BrokerOptions{
					Credentials: &users, Name: name, TLS: tls, Routes: &control.Routes{Host: "127.0.0.1", Peers: peers},
					Logger: slog.New(slog.NewTextHandler(heard, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(b.Close)
				return b
			}
			here := start("here", right, c.here)
			there := start("there", c.users, c.there, fmt.Sprintf("127.0.0.1:%d", here.RoutePort()))
			if c.peers > 0 {
				reaches(t, here, c.peers)
				reaches(t, there, c.peers)
			} else {
				<-heard.heard
			}
			if here.Peers() != c.peers {
				t.Errorf("it has let %d others in", here.Peers())
			}
			nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", here.RoutePort()), nats.UserInfo("broker", "guess"), nats.NoReconnect(),
				nats.Timeout(time.Second))
			if err == nil {
				nc.Close()
				t.Error("the port for brokers takes a client")
			}
		})
	}
}

// lines says when something is written.
type lines struct {
	once  sync.Once
	heard chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.once.Do(func() { close(l.heard) })
	return len(p), nil
}
