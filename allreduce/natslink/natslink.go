// Package natslink carries a ring's messages over NATS core, which delivers at most once; the ring asks again for what
// is lost. A rank listens on the subject `<prefix>.<generation>.<rank>`.
//
// # What the connection and the server need
//
// The owner of the connection sets, when it connects:
//
//   - nats.ReconnectBufSize(-1): while the connection is lost, Send fails at once instead of piling up old messages;
//   - nats.ReconnectWait of 100 ms or so, nats.ReconnectJitter no longer than that, nats.MaxReconnects(-1): the ring's
//     deadline says when waiting is over;
//   - nats.FlusherTimeout no longer than the ring's deadline, since a write to a stuck server holds up Run's return;
//   - nats.ErrorHandler, since the client's own prints what Receive returns anyway;
//   - nothing for pending limits: New sets those of its subscription, from Config.PendingBytes.
//
// The server needs max_payload of at least the ring's ChunkBytes + allreduce.HeaderSize (its default of 1 MB is enough
// for the ring's default), max_pending of at least twice allreduce.Config.InFlight for the ring's configuration, and a
// write_deadline longer than it takes to send that much (30s). Permissions: a worker publishes and subscribes to
// `<prefix>.>`.
package natslink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/allreduce"
)

// DefaultPendingBytes is the default of Config.PendingBytes.
const DefaultPendingBytes = 256 << 20

// flushTimeout bounds the wait for the server to know of the subscription.
const flushTimeout = 10 * time.Second

// pendingMessages is the limit of messages that wait. It is out of the way: bytes are what counts.
const pendingMessages = 1 << 20

// Config says which subjects a link uses.
type Config struct {
	Prefix       string // of the subjects: tokens joined by dots, without wildcards; of one job
	Generation   uint64
	Rank, Size   int
	PendingBytes int // of the messages that wait for Receive; 0: DefaultPendingBytes
}

// Validate names every field that is out of bounds.
func (c Config) Validate() error {
	var errs []error
	for token := range strings.SplitSeq(c.Prefix, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			errs = append(errs, fmt.Errorf("prefix is %q; it must be words joined by dots, without *, > and spaces", c.Prefix))
			break
		}
	}
	if c.Size < 1 || c.Size > allreduce.MaxSize {
		errs = append(errs, fmt.Errorf("size is %d; a ring has 1 to %d ranks", c.Size, allreduce.MaxSize))
	}
	if c.Rank < 0 || c.Rank >= c.Size {
		errs = append(errs, fmt.Errorf("rank is %d; of %d ranks it must be 0 to %d", c.Rank, c.Size, c.Size-1))
	}
	if c.PendingBytes < 0 {
		errs = append(errs, fmt.Errorf("pending bytes is %d; it must not be negative", c.PendingBytes))
	}
	return errors.Join(errs...)
}

// Subject is where a rank listens.
func (c Config) Subject(rank int) string {
	return c.Prefix + "." + strconv.FormatUint(c.Generation, 10) + "." + strconv.Itoa(rank)
}

// Link is one rank's end. Close it after the ring's Run has returned.
type Link struct {
	conn     *nats.Conn
	sub      *nats.Subscription
	subjects []string // by rank
	limits   allreduce.Limits
	messages chan []byte
	slow     <-chan nats.SubStatus
	status   chan nats.Status
	closed   chan struct{}
	once     sync.Once
}

var _ allreduce.Link = (*Link)(nil)

// New subscribes to a rank's subject and returns when the server knows of it. The connection stays the caller's.
// Several links can share one.
func New(ctx context.Context, conn *nats.Conn, c Config) (*Link, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("nats link: %w", err)
	}
	if c.PendingBytes == 0 {
		c.PendingBytes = DefaultPendingBytes
	}
	l := &Link{
		conn: conn, messages: make(chan []byte), closed: make(chan struct{}),
		limits: allreduce.Limits{Message: int(conn.MaxPayload()), Pending: c.PendingBytes},
	}
	for rank := range c.Size {
		l.subjects = append(l.subjects, c.Subject(rank))
	}
	subject := l.subjects[c.Rank]
	var err error
	if l.sub, err = conn.Subscribe(subject, l.deliver); err != nil {
		return nil, fmt.Errorf("nats link: subscribe to %s: %w", subject, err)
	}
	l.slow = l.sub.StatusChanged(nats.SubscriptionSlowConsumer)
	l.status = conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	if err := l.sub.SetPendingLimits(pendingMessages, c.PendingBytes); err != nil {
		return nil, errors.Join(fmt.Errorf("nats link: pending limits of %s: %w", subject, err), l.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := conn.FlushWithContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("nats link: subscribe to %s: %w", subject, err), l.Close())
	}
	return l, nil
}

// deliver runs in the subscription's goroutine. Every message of the client has a buffer of its own.
func (l *Link) deliver(m *nats.Msg) {
	select {
	case l.messages <- m.Data:
	case <-l.closed:
	}
}

// Send publishes a message to a rank's subject.
func (l *Link) Send(to int, message []byte) error {
	if to < 0 || to >= len(l.subjects) {
		return fmt.Errorf("there is no rank %d among %d", to, len(l.subjects))
	}
	select {
	case <-l.closed:
		return allreduce.ErrLinkClosed
	default:
	}
	err := l.conn.Publish(l.subjects[to], message)
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
		return fmt.Errorf("%w: publish to %s: %w", allreduce.ErrLinkClosed, l.subjects[to], err)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", l.subjects[to], err)
	}
	return nil
}

// Receive returns the next message, or what has happened to the subscription or the connection.
func (l *Link) Receive(ctx context.Context) ([]byte, error) {
	for {
		select {
		case m := <-l.messages:
			return m, nil
		case _, ok := <-l.slow:
			if !ok { // the subscription is gone, and so will be the connection or the link
				l.slow = nil
				continue
			}
			dropped, _ := l.sub.Dropped() // fails for a closed subscription only, which the next turn tells
			return nil, fmt.Errorf("%w on %s: more than %d bytes waited, %d messages were dropped so far: "+
				"raise the link's pending bytes or lower the ring's window", nats.ErrSlowConsumer, l.sub.Subject,
				l.limits.Pending, dropped)
		case s, ok := <-l.status:
			if !ok || s == nats.CLOSED {
				return nil, fmt.Errorf("%w: the connection to NATS is closed (last error: %v)",
					allreduce.ErrLinkClosed, l.conn.LastError())
			}
			return nil, fmt.Errorf("the connection to NATS was lost: %v", l.conn.LastError())
		case <-l.closed:
			return nil, allreduce.ErrLinkClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Limits are the server's largest payload when the link was made, and Config.PendingBytes.
func (l *Link) Limits() allreduce.Limits { return l.limits }

// Close unsubscribes and ends Send and Receive with allreduce.ErrLinkClosed.
func (l *Link) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		l.conn.RemoveStatusListener(l.status)
		err = l.sub.Unsubscribe()
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
			err = nil // the connection's end has taken it away
		}
	})
	if err != nil {
		return fmt.Errorf("nats link: unsubscribe from %s: %w", l.sub.Subject, err)
	}
	return nil
}
