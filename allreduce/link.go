package allreduce

import (
	"context"
	"errors"
)

// Link carries messages between the ranks of one generation. It may lose, repeat, reorder and damage them: the ring
// finds out. memlink and natslink implement it; linktest holds implementations to this contract.
type Link interface {
	// Send hands a message to a rank. The message is the caller's again when Send returns. An error says that the
	// message is lost; with ErrLinkClosed so are all further ones. It is called from one goroutine at a time.
	Send(to int, message []byte) error

	// Receive blocks until a message comes, ctx ends, or the link has something to say: an error other than that of
	// ctx and ErrLinkClosed tells of trouble (a lost connection, messages that were dropped), and the next call goes
	// on. The message is the caller's. It is called from one goroutine at a time, which may be another than Send's.
	Receive(ctx context.Context) ([]byte, error)

	// Limits are constant while the link is open.
	Limits() Limits
}

// Recycler is a Link that takes received messages back when nobody uses them any more, to receive others in their
// memory. Recycle may be called from any goroutine.
type Recycler interface {
	Recycle(message []byte)
}

// Interrupter is a Link whose Send may be held up by a rank that stands still. Interrupt ends a Send that is under way, as
// if its message were lost; it may be called from any goroutine. A ring that has ended waits for its last words for a
// moment, and then interrupts.
type Interrupter interface {
	Interrupt()
}

// Limits of a link, in bytes.
type Limits struct {
	Message int // the largest message
	Pending int // of all messages that wait for Receive; what exceeds it is lost
}

// ErrLinkClosed tells that a link was closed, or lost its connection for good.
var ErrLinkClosed = errors.New("the link is closed")
