package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pupil/internal/random"
)

// slowRate is what a slow link carries, in bytes a second.
const slowRate = 4 << 20

// lossShare is the share of the messages, or packets, that a lossy link loses.
const lossShare = 0.05

// condition is what a link does to what goes over it. The zero value is a good link.
type condition struct {
	cut  bool // nothing passes
	slow bool // slowRate at most
	lose bool // lossShare is lost
}

// link is a process's way to the others.
type link interface {
	set(condition) error
}

// proxy stands between a worker and a broker, and knows where messages begin. It can let nothing through while all
// connections stay open, as a network does that has parted, or little, or lose messages. The worker does not hear of a way around it.
type proxy struct {
	listener net.Listener
	target   string
	seed     uint64        // of what is lost
	raw      bool          // what passes is encrypted: no message is lost
	open     atomic.Int64  // connections
	streams  atomic.Uint64 // each direction of a connection is one

	mu      sync.Mutex
	now     condition
	changed chan struct{} // closed and replaced when the condition changes

	wait sync.WaitGroup
	end  context.CancelFunc
}

// newProxy listens on loopback and passes to target; raw, what it cannot read.
func newProxy(ctx context.Context, target string, seed uint64, raw bool) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &proxy{listener: l, target: target, seed: seed, raw: raw, changed: make(chan struct{}), end: cancel}
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
func (p *proxy) set(c condition) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = c
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *proxy) condition() (c condition, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.changed
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
	p.open.Add(1)
	defer p.open.Add(-1)
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
	dice := random.New(purposeChaos, p.seed, 2, p.streams.Add(1))
	if p.raw {
		_, _ = io.CopyBuffer(struct{ io.Writer }{&gate{ctx: ctx, proxy: p, to: to}}, struct{ io.Reader }{from}, make([]byte, 64<<10)) // both ends hear of the end
		return
	}
	in := bufio.NewReaderSize(from, 64<<10)
	out := bufio.NewWriterSize(&gate{ctx: ctx, proxy: p, to: to}, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		size, message := 0, false
		if err == nil {
			size, message = tail(line)
		} else if !errors.Is(err, bufio.ErrBufferFull) { // a line that is longer than the buffer is none of a message
			return
		}
		if c, _ := p.condition(); message && c.lose && dice.Float64() < lossShare {
			if _, err := in.Discard(size); err != nil {
				return
			}
			continue
		}
		if _, err := out.Write(unadvertised(line)); err != nil {
			return
		}
		if _, err := io.CopyN(out, in, int64(size)); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// gate writes to a connection as the proxy's condition allows.
type gate struct {
	ctx   context.Context // of the connection, which a Writer has no other way to hear of
	proxy *proxy
	to    net.Conn
	free  time.Time // when a slow link has carried what was written
}

func (g *gate) Write(b []byte) (int, error) {
	if err := g.proxy.pass(g.ctx); err != nil {
		return 0, err
	}
	if c, _ := g.proxy.condition(); c.slow {
		now := time.Now()
		if now.After(g.free) {
			g.free = now
		}
		g.free = g.free.Add(time.Duration(len(b)) * time.Second / slowRate) // not by sleeps alone, each of which is too long
		if err := pause(g.ctx, g.free.Sub(now)); err != nil {
			return 0, err
		}
	}
	return g.to.Write(b)
}

// pass waits while nothing passes.
func (p *proxy) pass(ctx context.Context) error {
	for {
		c, changed := p.condition()
		if !c.cut {
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
