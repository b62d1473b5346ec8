package testcluster

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Line is a worker's way to the broker, as slow in each direction as a test wants it. It ends with the test.
type Line struct {
	URL string // of the broker, over the line

	listen net.Listener
	to     string
	rates  [2]int // bytes a second to the worker and from it; 0: as fast as it goes
	all    sync.WaitGroup
	ended  chan struct{}
}

// Slow returns a line to the cluster's broker that carries so many bytes a second to the worker and from it; 0: as many as
// it is given.
func (c *Cluster) Slow(t testing.TB, to, from int) *Line {
	t.Helper()
	l := &Line{to: strings.TrimPrefix(c.natsURL, "nats://"), rates: [2]int{to, from}, ended: make(chan struct{})}
	var err error
	if l.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.URL = "nats://" + l.listen.Addr().String()
	l.all.Go(l.serve)
	t.Cleanup(func() {
		close(l.ended)
		_ = l.listen.Close() // serve ends by it
		l.all.Wait()
	})
	return l
}

func (l *Line) serve() {
	for {
		worker, err := l.listen.Accept()
		if err != nil {
			return
		}
		l.all.Go(func() { l.carry(worker) })
	}
}

func (l *Line) carry(worker net.Conn) {
	defer worker.Close()
	broker, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer broker.Close()
	over := make(chan struct{}, 2)
	for i, way := range [2][2]net.Conn{{worker, broker}, {broker, worker}} {
		l.all.Go(func() {
			l.copy(way[0], way[1], l.rates[i])
			over <- struct{}{}
		})
	}
	select {
	case <-over:
	case <-l.ended:
	}
}

// copy carries one direction. The kernel keeps little for it: who sends on a slow line notices.
func (l *Line) copy(to, from net.Conn, rate int) {
	const room = 16 << 10
	if rate > 0 {
		_ = from.(*net.TCPConn).SetReadBuffer(room)
		_ = to.(*net.TCPConn).SetWriteBuffer(room)
	}
	buffer := make([]byte, room)
	var free time.Time // when the line has carried all that it was given
	for {
		n, err := from.Read(buffer)
		if _, e := to.Write(buffer[:n]); err != nil || e != nil {
			return
		}
		if rate > 0 {
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
			select {
			case <-time.After(time.Until(free)):
			case <-l.ended:
				return
			}
		}
	}
}
