package meshlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	dialTime     = 2 * time.Second        // of one try, with its handshakes
	retryTime    = 50 * time.Millisecond  // between two
	farewellTime = 100 * time.Millisecond // for the other side to take what was sent
)

// peer is the connection to another rank's server.
type peer struct {
	rank     int
	address  string
	subject  string
	user     string // the other rank's name
	password string
	name     string        // this rank's
	tls      *tls.Config   // nil: none
	timeout  time.Duration // of a write
	gone     func(int)     // see Config.Gone; nil: nobody hears, or has heard

	life  context.Context // of the link
	ended chan struct{}   // closed when keep has returned; nil: it was not started

	mu   sync.Mutex
	raw  net.Conn // the newest, also while it is being opened
	open *client  // nil: there is none
	why  error    // why
}

// newPeer is the one of a rank.
func newPeer(life context.Context, c Config, rank int, t *tls.Config) *peer {
	to := c.Peers[rank]
	if t != nil {
		t = t.Clone()
		t.ServerName = to.Name
	}
	return &peer{
		rank: rank, address: to.Address, subject: c.subject(rank), user: to.Name, password: c.Password,
		name: c.Peers[c.Rank].Name, tls: t, timeout: c.Timeout / 4, gone: c.Gone, life: life,
	}
}

// dial opens a connection, and is let in.
func (p *peer) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	if err := p.hold(raw); err != nil {
		return err
	}
	c, err := p.enter(ctx, raw)
	if err != nil {
		p.cut()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.why = c, nil
	return nil
}

// hold makes a connection the one that cut ends.
func (p *peer) hold(raw net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil { // cut has been
		return errors.Join(errClosed, raw.Close())
	}
	p.raw = raw
	return nil
}

// enter makes the handshakes.
func (p *peer) enter(ctx context.Context, raw net.Conn) (*client, error) {
	if at, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(at); err != nil {
			return nil, err
		}
	}
	conn := raw
	if p.tls != nil {
		t := tls.Client(raw, p.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = t
	}
	c, err := greet(conn, p.user, p.password, p.name)
	if err != nil {
		return nil, err
	}
	c.encrypted, c.timeout = p.tls != nil, p.timeout
	return c, raw.SetDeadline(time.Time{})
}

// cut ends the connection at once, and whatever reads or writes it. It is opened anew, unless the link closes.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw != nil {
		_ = p.raw.Close() // who uses it hears of it
	}
}

// start connects, and keeps the connection from then on.
func (p *peer) start(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go p.keep()
	return nil
}

// connect tries until it is connected, or ctx ends: the other worker may not have opened its link yet.
func (p *peer) connect(ctx context.Context) error {
	var err error
	for {
		last := p.dial(ctx)
		if last == nil {
			return nil
		}
		if err == nil || !over(ctx) { // a try that ctx has cut off says nothing
			err = last
		}
		p.lost(err)
		p.notice(last)
		next := time.NewTimer(retryTime)
		select {
		case <-ctx.Done():
			next.Stop()
			return fmt.Errorf("rank %d at %s: %w", p.rank, p.address, explain(err))
		case <-next.C:
		}
	}
}

// over says whether a context has ended, or its deadline has passed, at which connections end a moment earlier.
func over(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(at)
}

// notice tells of a server that was there and is no more. A connection that was never open may fail for other reasons, such as a
// wrong address.
func (p *peer) notice(err error) {
	if p.ended != nil && p.gone != nil && p.life.Err() == nil && nobody(err) {
		p.gone(p.rank)
		p.gone = nil
	}
}

// nobody says whether a connection failed because nothing listens at its end: the machine refuses it, or what stands before it, such
// as a proxy, closes it without a word. A server that lives greets, or says why not.
func nobody(err error) bool {
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (p *peer) lost(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.why = nil, err
}

// keep answers the other server, and opens a connection that breaks anew, until the link's life ends.
func (p *peer) keep() {
	defer close(p.ended)
	for {
		_, err := p.current().next(nil)
		p.lost(err)
		p.cut()
		if p.life.Err() != nil || p.connect(p.life) != nil {
			return
		}
	}
}

func (p *peer) current() *client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// explain says what lies behind an error of a connection, where its own text does not.
func explain(err error) error {
	var remote *net.OpError // what crypto/tls makes of the other side's alerts
	switch {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("%w (it has not opened this generation's link, or does not accept this worker's certificate)", err)
	case errors.Is(err, errRefused) && strings.Contains(err.Error(), "Authorization"):
		return fmt.Errorf("%w (it has not opened this generation's link, or has another password)", err)
	}
	return err
}

// send publishes a message.
func (p *peer) send(message []byte) error {
	p.mu.Lock()
	c, why := p.open, p.why
	p.mu.Unlock()
	if c == nil {
		return fmt.Errorf("the connection to rank %d at %s is lost: %w", p.rank, p.address, explain(why))
	}
	err := c.publish(p.subject, message)
	if err == nil || errors.Is(err, errTooLarge) {
		return err
	}
	p.cut() // a part of the message may have gone
	return fmt.Errorf("publish to rank %d at %s: %w", p.rank, p.address, err)
}

// close lets the other side take what was sent, if that takes no longer than a moment, and ends the connection. The link's
// life has ended.
func (p *peer) close() {
	late := time.AfterFunc(farewellTime, p.cut)
	defer late.Stop()
	if half, ok := closer(p.current()); p.ended == nil || !ok || half.CloseWrite() != nil {
		p.cut()
	}
	if p.ended != nil {
		<-p.ended
	}
}

// closer is a connection that can end one of its directions: then its server ends the other one, when it has read all.
func closer(c *client) (half interface{ CloseWrite() error }, ok bool) {
	if c == nil {
		return nil, false
	}
	half, ok = c.conn.(interface{ CloseWrite() error })
	return half, ok
}
