package meshlink_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"pupil/allreduce/meshlink"
)

// proxy stands before a server. It can break all connections, or stand still as a stopped process does.
type proxy struct {
	listener net.Listener
	came     atomic.Int64  // connections
	frozen   chan struct{} // closed: nothing is read any more
	ended    chan struct{}
	wait     sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	end      sync.Once
}

func newProxy(t testing.TB, to *meshlink.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, frozen: make(chan struct{}), ended: make(chan struct{})}
	p.wait.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			p.came.Add(1)
			p.wait.Go(func() { p.carry(from, to.Addr()) })
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *proxy) carry(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	p.open = append(p.open, from, to)
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from) })
	both.Go(func() { p.copy(from, to) })
	both.Wait()
}

// copy moves bytes until either side ends; then both do.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		select {
		case <-p.frozen:
			<-p.ended
			return
		default:
		}
		n, err := from.Read(buffer)
		if _, e := to.Write(buffer[:n]); err != nil || e != nil {
			return
		}
	}
}

// freeze lets the proxy stand still, with little room for what is sent to it.
func (p *proxy) freeze() {
	close(p.frozen)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetReadBuffer(16 << 10)
		}
	}
}

// cut breaks all connections; new ones go through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func (p *proxy) close() {
	p.end.Do(func() {
		close(p.ended)
		_ = p.listener.Close()
		p.cut()
		p.wait.Wait()
	})
}
