package natslink_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/natslink"
)

// broker starts a NATS server on loopback.
func broker(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		MaxPending: 512 << 20, WriteDeadline: 30 * time.Second,
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func connect(t testing.TB, s *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.ReconnectBufSize(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func link(t testing.TB, nc *nats.Conn, c natslink.Config) *natslink.Link {
	t.Helper()
	l, err := natslink.New(t.Context(), nc, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// open connects ranks that have a connection each, through one broker.
func open(t testing.TB, size int) []allreduce.Link {
	s := broker(t, nil)
	var links []allreduce.Link
	for rank := range size {
		c := natslink.Config{Prefix: "pupil.ring.test", Generation: 3, Rank: rank, Size: size}
		links = append(links, link(t, connect(t, s), c))
	}
	return links
}

func TestLink(t *testing.T) { linktest.Run(t, open) }

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		c    natslink.Config
		want string
	}{
		{natslink.Config{Prefix: "a.b", Rank: 1, Size: 2}, ""},
		{natslink.Config{Prefix: "", Size: 1}, `prefix is ""`},
		{natslink.Config{Prefix: "a.*", Size: 1}, `prefix is "a.*"`},
		{natslink.Config{Prefix: "a b", Size: 1}, `prefix is "a b"`},
		{natslink.Config{Prefix: "a.", Size: 1}, `prefix is "a."`},
		{natslink.Config{Prefix: "a", Size: 1025}, "size is 1025"},
		{natslink.Config{Prefix: "a", Size: 2, Rank: 2}, "rank is 2"},
		{natslink.Config{Prefix: "a", Size: 2, PendingBytes: -1}, "pending bytes is -1"},
	} {
		err := test.c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want %q", test.c, err, test.want)
		}
	}
}
