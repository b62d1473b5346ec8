package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// slowRate is what a slow connection carries, in bytes a second.
const slowRate = 4 << 20

// proxy stands between a worker and the broker. It can let nothing through while all connections stay open, as a network
// does that has parted, or little.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the condition changes
	closed  bool          // nothing passes
	slow    bool

	wait sync.WaitGroup
	end  context.CancelFunc
}

// newProxy listens on loopback and passes to target.
func newProxy(ctx context.Context, target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &proxy{listener: l, target: target, changed: make(chan struct{}), end: cancel}
	p.wait.Go(func() { p.accept(ctx) })
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// close ends all connections.
func (p *proxy) close() {
	p.end()
	_ = p.listener.Close() // accept ends by it
	p.wait.Wait()
}

// set changes what passes.
func (p *proxy) set(closed, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.slow = closed, slow
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) condition() (closed, slow bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed, p.slow, p.changed
}

func (p *proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.serve(ctx, c) })
	}
}

func (p *proxy) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	if p.pass(ctx) != nil {
		return
	}
	var d net.Dialer
	s, err := d.DialContext(ctx, "tcp", p.target)
	if err != nil { // the broker is away; so it is for who asks
		return
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), s.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { p.carry(ctx, s, c); cancel() })
	both.Go(func() { p.carry(ctx, c, s); cancel() })
	both.Wait()
}

// carry copies from one connection to the other, as the condition allows.
func (p *proxy) carry(ctx context.Context, to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || p.pass(ctx) != nil {
			return
		}
		if _, slow, _ := p.condition(); slow && pause(ctx, time.Duration(n)*time.Second/slowRate) != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits while nothing passes.
func (p *proxy) pass(ctx context.Context) error {
	for {
		closed, _, changed := p.condition()
		if !closed {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.New("ended")
		}
	}
}

// pause waits for a while.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
