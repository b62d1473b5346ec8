package natslink_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/natslink"
)

// A rank sees the subject of its own generation only.
func TestSubjects(t *testing.T) {
	s := broker(t, nil)
	nc := connect(t, s)
	old := link(t, nc, natslink.Config{Prefix: "pupil.x", Generation: 8, Rank: 1, Size: 2})
	current := link(t, nc, natslink.Config{Prefix: "pupil.x", Generation: 9, Rank: 1, Size: 2})
	other := connect(t, s)
	for _, subject := range []string{"pupil.x.9.0", "pupil.y.9.1", "pupil.x.8.1", "pupil.x.9.1"} {
		if err := other.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	for want, l := range map[string]*natslink.Link{"pupil.x.8.1": old, "pupil.x.9.1": current} {
		if got, err := l.Receive(t.Context()); err != nil || string(got) != want {
			t.Errorf("received %q, error %v; want %q", got, err, want)
		}
	}
}

// The link's limits are those of the server and the configuration, and a ring that exceeds them is refused.
func TestLimits(t *testing.T) {
	s := broker(t, func(o *server.Options) { o.MaxPayload = 100_000 })
	l := link(t, connect(t, s), natslink.Config{Prefix: "p", Generation: 1, Size: 4, PendingBytes: 5_000_000})
	if want := (allreduce.Limits{Message: 100_000, Pending: 5_000_000}); l.Limits() != want {
		t.Errorf("limits %+v; want %+v", l.Limits(), want)
	}
	_, err := allreduce.New(l, allreduce.Config{Size: 4})
	for _, want := range []string{
		"messages of 524352; the link takes 100000", "33558528 bytes at a rank; the link holds 5000000",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// What a rank is too slow for is lost, and Receive says so.
func TestSlowConsumer(t *testing.T) {
	s := broker(t, nil)
	receiving, sending := connect(t, s), connect(t, s)
	l := link(t, receiving, natslink.Config{Prefix: "p", Generation: 1, Size: 1, PendingBytes: 10_000})
	for range 20 {
		if err := sending.Publish("p.1.0", make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range []*nats.Conn{sending, receiving} { // after both, the client has all of them
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	messages, slow := 0, 0
	for slow == 0 {
		_, err := l.Receive(t.Context())
		switch {
		case err == nil:
			messages++
		case errors.Is(err, nats.ErrSlowConsumer) && strings.Contains(err.Error(), "more than 10000 bytes waited"):
			slow++
		default:
			t.Fatal(err)
		}
	}
	if messages >= 20 {
		t.Errorf("%d messages arrived", messages)
	}
}

// A lost connection is told by Send and Receive; a closed one ends the link.
func TestDisconnect(t *testing.T) {
	s := broker(t, nil)
	nc := connect(t, s)
	l := link(t, nc, natslink.Config{Prefix: "p", Generation: 1, Size: 1})
	s.Shutdown()
	if _, err := l.Receive(t.Context()); err == nil || !strings.Contains(err.Error(), "connection to NATS was lost") {
		t.Errorf("Receive: %v", err)
	}
	if err := l.Send(0, []byte("x")); err == nil || errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Send while the connection is lost: %v", err)
	}
	nc.Close()
	if _, err := l.Receive(t.Context()); !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Receive after the connection was closed: %v", err)
	}
	if err := l.Send(0, []byte("x")); !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Send after the connection was closed: %v", err)
	}
	if _, err := natslink.New(t.Context(), nc, natslink.Config{Prefix: "p", Size: 1}); err == nil {
		t.Error("New over a closed connection gave no error")
	}
}

// The broker goes down in the middle and comes back: all sums are right.
func TestBrokerRestart(t *testing.T) {
	const size, steps = 3, 30
	s := broker(t, nil)
	port := s.Addr().(*net.TCPAddr).Port
	var links []allreduce.Link
	for rank := range size {
		links = append(links, link(t, connect(t, s), natslink.Config{Prefix: "p", Generation: 3, Rank: rank, Size: size}))
	}
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: time.Minute, ChunkBytes: 32 << 10})
	middle := make(chan struct{})
	var restarted *server.Server
	for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
		for step := range uint64(steps) {
			if rank == 0 && step == steps/3 {
				close(middle)
			}
			if rank == 1 && step == steps/3 {
				<-middle
				s.Shutdown()
				s.WaitForShutdown()
				restarted = broker(t, func(o *server.Options) { o.Port = port })
			}
			if err := linktest.Step(t.Context(), r, rank, size, step, []int{100_000, 5}); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	if restarted == nil {
		t.Fatal("the broker was not restarted")
	}
	g.Stop()
	t.Logf("rank 0: %+v", g.Rings[0].Stats())
}

// The broker goes for good: every rank gets an error that names the connection.
func TestBrokerGone(t *testing.T) {
	s := broker(t, nil)
	var links []allreduce.Link
	for rank := range 2 {
		links = append(links, link(t, connect(t, s), natslink.Config{Prefix: "p", Generation: 3, Rank: rank, Size: 2}))
	}
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: 300 * time.Millisecond})
	s.Shutdown()
	for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
		return r.ReduceInt64(t.Context(), 0, 0, make([]int64, 100))
	}) {
		if !errors.Is(err, allreduce.ErrDeadline) || !strings.Contains(err.Error(), "latest trouble") {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}
