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

// newInbox connects to this worker's own server. One with TLS waits 50 ms before it greets who comes from within the process.
func newInbox(s *Server) (*inbox, error) {
	conn, err := s.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	i := &inbox{messages: make(chan []byte), ended: make(chan struct{}), closed: make(chan struct{})}
	if err = conn.SetDeadline(time.Now().Add(handshakeTime * time.Second)); err == nil {
		i.client, err = greet(conn, ownerName, s.secret, ownerName)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	i.client.pong = make(chan struct{}, 1)
	go i.run()
	return i, nil
}

// subscribe returns when what is published to a subject from then on comes in. It can be called once.
func (i *inbox) subscribe(ctx context.Context, subject string) error {
	i.subject = subject
	if err := i.client.write("SUB " + subject + " 1\r\nPING\r\n"); err != nil {
		return err
	}
	select {
	case <-i.client.pong:
		return nil
	case <-i.ended:
		return i.why
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
