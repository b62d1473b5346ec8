package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

// gate stands before a broker. When it is shut, connections stay open and carry nothing, as those to a host that stands still.
type gate struct {
	listener net.Listener
	shut     chan struct{}
	used     chan struct{} // closed when a connection has come
	once     sync.Once
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, shut: make(chan struct{}), used: make(chan struct{})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			other, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			g.once.Do(func() { close(g.used) })
			mu.Lock()
			open = append(open, c, other)
			mu.Unlock()
			wg.Go(func() { g.carry(c, other) })
			wg.Go(func() { g.carry(other, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return g
}

func (g *gate) carry(from, to net.Conn) {
	p := make([]byte, 1<<16)
	for {
		n, err := from.Read(p)
		select {
		case <-g.shut:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if _, e := to.Write(p[:n]); err != nil || e != nil {
			_ = errors.Join(from.Close(), to.Close()) // the other side has gone
			return
		}
	}
}

// TestSilentBroker: of two brokers the one that a worker uses stands still. Its session goes on over the
// one that is left.
func TestSilentBroker(t *testing.T) {
	c := newCoordinator(t)
	to := strings.TrimPrefix(c.server.ClientURL(), "nats://")
	a, b := newGate(t, to), newGate(t, to)
	ended := c.run(context.Background(), train(block), func(c *agent.Config) {
		c.URL = "nats://" + a.listener.Addr().String() + ",nats://" + b.listener.Addr().String()
	})
	m, msg := hear(c, always[wire.Register])
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: time.Second})
	first, msg := hear(c, always[wire.Heartbeat])
	c.answer(msg, wire.Ack{})
	select {
	case <-a.used:
		close(a.shut)
	case <-b.used:
		close(b.shut)
	}
	hear(c, func(h wire.Heartbeat) bool {
		if h.Session != m.Session {
			t.Fatal("it has begun another session")
		}
		return h.Connection != first.Connection
	})
	c.send(wire.PushSubject(m.Worker, m.Session), wire.Abort{Reason: "it was ended"})
	if err := <-ended; !errors.Is(err, agent.ErrCoordinatorGone) {
		t.Error(err)
	}
}

// TestNoCoordinator: a broker over which no coordinator answers is left for another one.
func TestNoCoordinator(t *testing.T) {
	far, c := newCoordinator(t), newCoordinator(t) // nobody answers at the first
	a := newGate(t, strings.TrimPrefix(far.server.ClientURL(), "nats://"))
	ended := c.run(context.Background(), train(block), func(c *agent.Config) {
		c.URL = "nats://" + a.listener.Addr().String() + "," + c.URL
	})
	m, msg := hear(c, always[wire.Register])
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: time.Second})
	hear(c, always[wire.Heartbeat])
	c.send(wire.PushSubject(m.Worker, m.Session), wire.Abort{Reason: "it was ended"})
	if err := <-ended; !errors.Is(err, agent.ErrCoordinatorGone) {
		t.Error(err)
	}
}
