package meshlink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/internal/shelf"
)

// inbox takes the messages of a ring out of this worker's own server, by a connection within the process.
type inbox struct {
	client   *client
	subject  string
	messages chan []byte
	shelf    shelf.Shelf
	ended    chan struct{} // closed when nothing comes any more
	why      error         // set before
	closed   chan struct{}
	once     sync.Once
}

// openInbox subscribes to a subject, to which nobody may publish yet.
func openInbox(ctx context.Context, s *Server, subject string) (*inbox, error) {
	conn, err := s.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	i := &inbox{subject: subject, messages: make(chan []byte), ended: make(chan struct{}), closed: make(chan struct{})}
	if err := conn.SetDeadline(time.Now().Add(handshakeTime * time.Second)); err != nil {
		return nil, err
	}
	if i.client, err = greet(conn, ownerName, s.secret, ownerName); err == nil {
		err = i.client.ask("SUB " + subject + " 1\r\n")
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	go i.run()
	return i, nil
}

func (i *inbox) run() {
	defer close(i.ended)
	for {
		m, err := i.client.next(i.shelf.Take)
		if err != nil {
			i.why = err
			return
		}
		select {
		case i.messages <- m:
		case <-i.closed:
			return
		}
	}
}

// receive returns the next message.
func (i *inbox) receive(ctx context.Context) ([]byte, error) {
	select {
	case m := <-i.messages:
		return m, nil
	case <-i.closed:
		return nil, allreduce.ErrLinkClosed
	case <-i.ended:
		return nil, fmt.Errorf("%w: the connection to this worker's own server: %w", allreduce.ErrLinkClosed, i.why)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send publishes a message to this rank itself.
func (i *inbox) send(message []byte) error { return i.client.publish(i.subject, message) }

// close ends receive, and waits until nothing runs any more.
func (i *inbox) close() {
	i.once.Do(func() {
		close(i.closed)
		_ = i.client.conn.Close() // within the process: nothing can be lost
	})
	<-i.ended
	i.shelf.Close()
}
