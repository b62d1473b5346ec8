// Package memlink connects the ranks of a ring within one process. It is the link of tests: a hook can lose, repeat,
// delay and damage messages.
package memlink

import (
	"context"
	"fmt"
	"sync"

	"pupil/allreduce"
	"pupil/allreduce/internal/shelf"
)

// Network connects Size ranks.
type Network struct {
	links []*Link
}

// Fault decides what becomes of a message: it returns the messages to deliver in its place, now and in that order. It
// may keep messages and return them at a later call. The message is its own. It is called by the senders' goroutines,
// one at a time for each receiving rank.
type Fault func(from, to int, message []byte) [][]byte

// Link is one rank's end.
type Link struct {
	network *Network
	rank    int
	limits  allreduce.Limits

	mu      sync.Mutex
	queue   [][]byte
	first   int           // of the queue; what is before it was received
	pending int           // bytes in queue
	dropped int           // messages that found the queue full since the last Receive
	filled  chan struct{} // of one element: something is to be had
	closed  bool
	fault   Fault
	shelf   shelf.Shelf // memory of messages that were received
	foreign bool        // there was a fault: messages may share memory, and are not used again
}

var (
	_ allreduce.Link     = (*Link)(nil)
	_ allreduce.Recycler = (*Link)(nil)
)

// Default limits, in bytes.
const (
	MaxMessage = 64 << 20
	MaxPending = 1 << 30
)

// New connects size ranks; the links are by rank.
func New(size int) []*Link {
	return NewLimited(size, allreduce.Limits{Message: MaxMessage, Pending: MaxPending})
}

// NewLimited is New with limits.
func NewLimited(size int, limits allreduce.Limits) []*Link {
	n := &Network{}
	for rank := range size {
		n.links = append(n.links, &Link{network: n, rank: rank, limits: limits, filled: make(chan struct{}, 1)})
	}
	return n.links
}

// SetFault sets the hook for what this rank receives. nil delivers everything.
func (l *Link) SetFault(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.foreign = f, true
}

// Send copies a message into another rank's queue. A closed receiver swallows it, as a dead peer does.
func (l *Link) Send(to int, message []byte) error {
	if to < 0 || to >= len(l.network.links) {
		return fmt.Errorf("there is no rank %d among %d", to, len(l.network.links))
	}
	if len(message) > l.limits.Message {
		return fmt.Errorf("a message of %d bytes; the link takes %d", len(message), l.limits.Message)
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return allreduce.ErrLinkClosed
	}
	l.network.links[to].deliver(l.rank, message)
	return nil
}

// deliver queues a copy of a message, or what the fault makes of one.
func (l *Link) deliver(from int, message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	message = append(l.shelf.Take(len(message))[:0], message...)
	if l.fault == nil {
		l.put(message)
	} else {
		for _, m := range l.fault(from, l.rank, message) {
			l.put(m)
		}
	}
	l.wake()
}

func (l *Link) put(message []byte) {
	if l.pending+len(message) > l.limits.Pending {
		l.dropped++
		l.recycle(message)
		return
	}
	if l.first > 0 && len(l.queue) == cap(l.queue) {
		n := copy(l.queue, l.queue[l.first:])
		clear(l.queue[n:])
		l.queue, l.first = l.queue[:n], 0
	}
	l.queue = append(l.queue, message)
	l.pending += len(message)
}

// Recycle takes a received message back.
func (l *Link) Recycle(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recycle(message)
}

func (l *Link) recycle(message []byte) {
	if !l.foreign {
		l.shelf.Put(message)
	}
}

// wake lets a waiting Receive look again.
func (l *Link) wake() {
	select {
	case l.filled <- struct{}{}:
	default:
	}
}

// Receive returns the next message.
func (l *Link) Receive(ctx context.Context) ([]byte, error) {
	for {
		if message, err := l.poll(); message != nil || err != nil {
			return message, err
		}
		select {
		case <-l.filled:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *Link) poll() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, allreduce.ErrLinkClosed
	case l.dropped > 0:
		n := l.dropped
		l.dropped = 0
		return nil, fmt.Errorf("%d messages were dropped: %d bytes are waiting, of at most %d",
			n, l.pending, l.limits.Pending)
	case len(l.queue) == l.first:
		return nil, nil
	}
	message := l.queue[l.first]
	l.queue[l.first] = nil
	l.first++
	l.pending -= len(message)
	return message, nil
}

// Limits are those of NewLimited.
func (l *Link) Limits() allreduce.Limits { return l.limits }

// Close ends this rank's Send and Receive with allreduce.ErrLinkClosed and lets go of what waits.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.queue, l.first, l.pending, l.fault = nil, 0, 0, nil
	l.shelf.Close()
	l.wake()
	return nil
}
