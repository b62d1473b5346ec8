package raftlog

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Stream is the way to other coordinators: it takes their connections at its address, and makes such to others.
type Stream interface {
	net.Listener
	Dial(ctx context.Context, address string) (net.Conn, error)
}

type transport interface {
	raft.Transport
	Close() error
}

// stream lets raft use a Stream, and ends the connections that it was given: raft's transport leaves them open.
type stream struct {
	Stream
	mu     sync.Mutex
	open   map[*accepted]struct{}
	closed bool
}

func newStream(s Stream) *stream { return &stream{Stream: s, open: make(map[*accepted]struct{})} }

var _ raft.StreamLayer = (*stream)(nil)

// Dial is what raft calls.
func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.Stream.Dial(ctx, string(to))
}

// Accept notes the connection.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.Stream.Accept()
	if err != nil {
		return nil, err
	}
	a := &accepted{Conn: c, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	s.open[a] = struct{}{}
	return a, nil
}

// Close ends Accept and all that it has returned.
func (s *stream) Close() error {
	err := s.Stream.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for a := range s.open {
		_ = a.Conn.Close() // the other side sees it
	}
	s.open = nil
	return err
}

// accepted is a connection that another coordinator has made.
type accepted struct {
	net.Conn
	of *stream
}

func (a *accepted) Close() error {
	a.of.mu.Lock()
	delete(a.of.open, a)
	a.of.mu.Unlock()
	return a.Conn.Close()
}

// closing is raft's transport, which does not end the connections that it made either.
type closing struct {
	*raft.NetworkTransport
	stream *stream
}

// Close ends all connections.
func (c closing) Close() error {
	err := c.NetworkTransport.Close()
	c.CloseStreams()
	return errors.Join(err, c.stream.Close())
}
