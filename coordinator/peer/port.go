package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"pupil/internal/certificate"
)

// Config says where a port is, and who may use it.
type Config struct {
	Listen    string              // host:port; port 0: one that is free
	Advertise string              // host:port that others reach it by; "": where it listens
	Token     string              // of the cluster; required
	TLS       *certificate.Source // which both sides show; nil: plain TCP
	Logger    *slog.Logger        // nil: no logs
}

const (
	handshakeTime = 5 * time.Second // for all of it
	handshakes    = 128             // that may be under way; more connections wait
)

// Port is the address of a coordinator for the others.
type Port struct {
	config   Config
	listener net.Listener
	services map[Kind]*Service
	closed   chan struct{}
	close    func() error
	wait     sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{} // whose handshake is under way
}

// Listen opens a port.
func Listen(c Config) (*Port, error) {
	if c.Token == "" {
		return nil, errors.New("listen for other coordinators: there is no token")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for other coordinators: %w", err)
	}
	if c.Advertise == "" {
		c.Advertise = l.Addr().String()
	}
	p := &Port{
		config: c, listener: l, services: make(map[Kind]*Service), closed: make(chan struct{}),
		open: make(map[net.Conn]struct{}),
	}
	for _, k := range kinds {
		p.services[k] = &Service{port: p, kind: k, accepted: make(chan net.Conn), closed: make(chan struct{})}
	}
	p.close = sync.OnceValue(func() error {
		close(p.closed)
		err := l.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close() // its handshake fails
		}
		p.mu.Unlock()
		p.wait.Wait()
		return err
	})
	p.wait.Go(p.accept)
	return p, nil
}

// Address is what others dial.
func (p *Port) Address() string { return p.config.Advertise }

// Service returns one of the port's services.
func (p *Port) Service(k Kind) *Service { return p.services[k] }

// Close ends the port and waits for its goroutines. Connections that were accepted are their services'.
func (p *Port) Close() error { return p.close() }

func (p *Port) accept() {
	room := make(chan struct{}, handshakes)
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			p.config.Logger.Warn("cannot take a coordinator's connection", "err", err)
			select {
			case <-time.After(time.Second / 10):
				continue
			case <-p.closed:
				return
			}
		}
		room <- struct{}{}
		if !p.track(c) {
			return
		}
		p.wait.Go(func() {
			p.admit(c)
			<-room
		})
	}
}

// track notes a connection whose handshake begins. It closes that of a port that is closed.
func (p *Port) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		_ = c.Close()
		return false
	default:
	}
	p.open[c] = struct{}{}
	return true
}

// admit makes the handshake of a connection and hands it to its service.
func (p *Port) admit(raw net.Conn) {
	c := raw
	if p.config.TLS != nil {
		c = tls.Server(raw, p.config.TLS.Server(tls.RequireAndVerifyClientCert))
	}
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	kind, err := admit(c, p.config.Token)
	p.mu.Lock()
	delete(p.open, raw)
	p.mu.Unlock()
	if err != nil {
		p.config.Logger.Warn("refused a connection to this coordinator", "from", raw.RemoteAddr(), "err", err)
		_ = raw.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	s := p.services[kind]
	select {
	case s.accepted <- c:
	case <-s.closed:
		_ = c.Close()
	case <-p.closed:
		_ = c.Close()
	}
}

// Service is one of the services of a port: a net.Listener, and the way to the same service of others.
type Service struct {
	port     *Port
	kind     Kind
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

var _ net.Listener = (*Service)(nil)

// Accept returns the next connection. After Close, of the service or the port, it returns net.ErrClosed.
func (s *Service) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.closed:
	case <-s.port.closed:
	}
	return nil, net.ErrClosed
}

// Close ends Accept.
func (s *Service) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Addr is the address that others dial.
func (s *Service) Addr() net.Addr { return address(s.port.config.Advertise) }

// Dial connects to the same service of another port. The name in its certificate must be the address's host.
func (s *Service) Dial(ctx context.Context, to string) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("connect to the coordinator at %s: %w", to, err)
		}
	}()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	if s.port.config.TLS != nil {
		config := s.port.config.TLS.Client()
		if config.ServerName, _, err = net.SplitHostPort(to); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c = tls.Client(c, config)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = greet(c, s.port.config.Token, s.kind)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close() // the first error says more
		return nil, err
	}
	return c, nil
}

// address is one that may have a name for its host.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
