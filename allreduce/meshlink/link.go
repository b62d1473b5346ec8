package meshlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pupil/allreduce"
	"pupil/allreduce/natslink"
)

// dials is how many connections a link opens at the same time.
const dials = 32

// Link is one rank's end. Close it after the ring's Run has returned.
type Link struct {
	server  *Server
	in      *natslink.Link // over this worker's own server
	rank    int
	name    string
	peers   []*peer // by rank; nil at this one's
	sending atomic.Pointer[peer]
	end     context.CancelFunc // of all dialling
	once    sync.Once
	closed  chan struct{}
	closing error
}

var (
	_ allreduce.Link        = (*Link)(nil)
	_ allreduce.Interrupter = (*Link)(nil)
)

// New opens a rank's end and returns when it is connected to all others, or with allreduce.ErrDeadline. It ends at once with
// ctx.
func New(ctx context.Context, s *Server, c Config) (*Link, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("mesh link: %w", err)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	t, err := c.tls(s.key)
	if err != nil {
		return nil, fmt.Errorf("mesh link: %w", err)
	}
	in, err := natslink.New(ctx, s.owner, natslink.Config{
		Prefix: c.Prefix, Generation: c.Generation, Rank: c.Rank, Size: len(c.Peers), PendingBytes: c.PendingBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("mesh link: this worker's own server: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l := &Link{server: s, in: in, rank: c.Rank, name: c.Peers[c.Rank].Name, end: end, closed: make(chan struct{})}
	for rank, x := range c.Peers {
		var p *peer
		if rank != c.Rank {
			p = &peer{rank: rank, address: x.Address, subject: in.Subject(rank), life: life}
		}
		l.peers = append(l.peers, p)
	}
	if err := s.admit(l.name, &admission{tls: t, password: c.Password, subject: in.Subject(c.Rank)}); err != nil {
		return nil, errors.Join(fmt.Errorf("mesh link: %w", err), in.Close())
	}
	if err := l.connect(ctx, c, t); err != nil {
		return nil, errors.Join(fmt.Errorf("mesh link: %w", err), l.Close())
	}
	return l, nil
}

// connect connects to all other ranks, the next one first.
func (l *Link) connect(ctx context.Context, c Config, t *tls.Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("%w: not connected to all ranks after %s", allreduce.ErrDeadline, c.Timeout))
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
			errs[p.rank] = p.connect(ctx, c, t)
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
		return l.in.Send(to, message)
	}
	p := l.peers[to]
	l.sending.Store(p)
	defer l.sending.Store(nil)
	return p.send(message)
}

// Interrupt ends the Send that is under way: its message is lost, and the connection is opened anew.
func (l *Link) Interrupt() {
	if p := l.sending.Load(); p != nil {
		p.cut()
	}
}

// Receive returns the next message that came to this worker's server.
func (l *Link) Receive(ctx context.Context) ([]byte, error) { return l.in.Receive(ctx) }

// Limits are those of this worker's own server; all workers have the same.
func (l *Link) Limits() allreduce.Limits { return l.in.Limits() }

// Close lets no other rank in any more, sends what waits to be sent if that takes no longer than a moment, and ends all
// connections, Send and Receive with allreduce.ErrLinkClosed.
func (l *Link) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.server.dismiss(l.name)
		var group sync.WaitGroup
		for _, p := range l.peers {
			if p != nil {
				group.Go(p.close)
			}
		}
		group.Wait()
		l.end()
		l.closing = l.in.Close()
	})
	return l.closing
}
