package meshlink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pupil/allreduce"
)

// dials is how many connections a link opens at the same time.
const dials = 32

// Link is one rank's end. Close it after the ring's Run has returned.
type Link struct {
	server  *Server
	in      *inbox // of this worker's own server
	rank    int
	name    string
	peers   []*peer // by rank; nil at this one's
	sending atomic.Pointer[peer]
	end     context.CancelFunc // of all connections
	once    sync.Once
	closed  chan struct{}
}

var (
	_ allreduce.Link        = (*Link)(nil)
	_ allreduce.Interrupter = (*Link)(nil)
	_ allreduce.Recycler    = (*Link)(nil)
)

// New opens a rank's end and returns when it is connected to all others, or with allreduce.ErrDeadline. It ends at once with
// ctx.
func New(ctx context.Context, s *Server, c Config) (*Link, error) {
	if err := c.check(s.plain); err != nil {
		return nil, fmt.Errorf("mesh link: %w", err)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	a := &admission{password: c.Password, subject: c.subject(c.Rank)}
	if !s.plain {
		var err error
		if a.tls, err = c.tls(s.key); err != nil {
			return nil, fmt.Errorf("mesh link: %w", err)
		}
	}
	in, err := s.open(ctx, a.subject)
	if err != nil {
		return nil, fmt.Errorf("mesh link: this worker's own server: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l := &Link{server: s, in: in, rank: c.Rank, name: c.Peers[c.Rank].Name, end: end, closed: make(chan struct{})}
	for rank := range c.Peers {
		var p *peer
		if rank != c.Rank {
			p = newPeer(life, c, rank, a.tls)
		}
		l.peers = append(l.peers, p)
	}
	if err := s.admit(l.name, a); err != nil {
		end()
		in.close()
		return nil, fmt.Errorf("mesh link: %w", err)
	}
	if err := l.connect(ctx, c.Timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("mesh link: %w", err), l.Close())
	}
	return l, nil
}

// connect connects to all other ranks, the next one first.
func (l *Link) connect(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w: not connected to all ranks after %s", allreduce.ErrDeadline, timeout))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		l.end()
		for _, p := range l.peers {
			if p != nil {
				p.cut()
			}
		}
	})
	defer stop()
	errs := make([]error, len(l.peers))
	slots := make(chan struct{}, dials)
	var group sync.WaitGroup
	for i := range len(l.peers) - 1 {
		p := l.peers[(l.rank+1+i)%len(l.peers)]
		slots <- struct{}{}
		group.Go(func() {
			errs[p.rank] = p.start(ctx)
			<-slots
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if ctx.Err() != nil { // the connections were cut
		return context.Cause(ctx)
	}
	return nil
}

// Send publishes a message at a rank's server.
func (l *Link) Send(to int, message []byte) error {
	select {
	case <-l.closed:
		return allreduce.ErrLinkClosed
	default:
	}
	if to < 0 || to >= len(l.peers) || to == l.rank {
		return l.deliver(to, message)
	}
	p := l.peers[to]
	l.sending.Store(p)
	defer l.sending.Store(nil)
	return p.send(message)
}

// deliver is Send to what is no other rank.
func (l *Link) deliver(to int, message []byte) error {
	if to != l.rank {
		return fmt.Errorf("there is no rank %d among %d", to, len(l.peers))
	}
	return l.in.send(message)
}

// Interrupt ends the Send that is under way: its message is lost, and the connection is opened anew.
func (l *Link) Interrupt() {
	if p := l.sending.Load(); p != nil {
		p.cut()
	}
}

// Receive returns the next message that came to this worker's server.
func (l *Link) Receive(ctx context.Context) ([]byte, error) { return l.in.receive(ctx) }

// Recycle takes a received message back.
func (l *Link) Recycle(message []byte) { l.in.shelf.Put(message) }

// Limits are those of this worker's own server; all workers have the same.
func (l *Link) Limits() allreduce.Limits { return l.server.limits }

// Close lets no other rank in any more, gives the others a moment to take what was sent, and ends all connections, Send and
// Receive with allreduce.ErrLinkClosed.
func (l *Link) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.server.dismiss(l.name)
		l.end()
		var group sync.WaitGroup
		for _, p := range l.peers {
			if p != nil {
				group.Go(p.close)
			}
		}
		group.Wait()
		l.in.close()
	})
	return nil
}
