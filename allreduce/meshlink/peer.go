package meshlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	dialTime     = 2 * time.Second        // of one try, with its handshakes
	retryTime    = 50 * time.Millisecond  // between two
	farewellTime = 100 * time.Millisecond // in which Close writes what waits to be sent
)

// peer is the connection to another rank's server.
type peer struct {
	rank    int
	address string
	subject string
	conn    *nats.Conn

	life context.Context // of the link: what dials anew in the background has no caller
	mu   sync.Mutex
	raw  net.Conn // the newest
}

// Dial implements nats.CustomDialer.
func (p *peer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.life, dialTime)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil { // cut has been
		return nil, errors.Join(errClosed, c.Close())
	}
	p.raw = c
	return c, nil
}

// cut ends the connection at once, and whatever reads or writes it. It is opened anew, unless the link closes.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw != nil {
		_ = p.raw.Close() // who uses it hears of it
	}
}

// connect tries until it is connected, or ctx ends: the other worker may not have opened its link yet.
func (p *peer) connect(ctx context.Context, c Config, t *tls.Config) error {
	t = t.Clone()
	name := c.Peers[p.rank].Name
	t.ServerName = name
	options := []nats.Option{
		nats.UserInfo(name, c.Password), nats.Name(c.Peers[c.Rank].Name),
		nats.Secure(t), nats.TLSHandshakeFirst(), nats.SetCustomDialer(p), nats.SkipHostLookup(), nats.Timeout(dialTime),
		nats.FlusherTimeout(c.Timeout / 4),
		nats.ReconnectBufSize(-1), nats.ReconnectWait(retryTime), nats.ReconnectJitter(retryTime/2, retryTime/2),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.NoCallbacksAfterClientClose(), nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // Send tells
	}
	for {
		var err error
		if p.conn, err = nats.Connect("nats://"+p.address, options...); err == nil {
			return nil
		}
		next := time.NewTimer(retryTime)
		select {
		case <-ctx.Done():
			next.Stop()
			return fmt.Errorf("rank %d at %s: %w", p.rank, p.address, explain(err))
		case <-next.C:
		}
	}
}

// explain says what lies behind an error of a connection, where its own text does not.
func explain(err error) error {
	var remote *net.OpError // what crypto/tls makes of the other side's alerts
	switch {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("%w (it has not opened this generation's link, or does not accept this worker's certificate)", err)
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("%w (it has another password for this generation)", err)
	}
	return err
}

// send publishes a message.
func (p *peer) send(message []byte) error {
	err := p.conn.Publish(p.subject, message)
	switch {
	case err == nil || errors.Is(err, nats.ErrMaxPayload):
		return err
	case p.conn.IsConnected():
		return fmt.Errorf("publish to rank %d at %s: %w", p.rank, p.address, err)
	}
	last := p.conn.LastError()
	if last == nil {
		last = err
	}
	return fmt.Errorf("the connection to rank %d at %s is lost: %w", p.rank, p.address, explain(last))
}

// close sends what waits to be sent, if that takes no longer than a moment, and ends the connection.
func (p *peer) close() {
	if p.conn == nil {
		p.cut()
		return
	}
	late := time.AfterFunc(farewellTime, p.cut)
	p.conn.Close()
	late.Stop()
	p.cut()
}
