package meshlink

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pupil/allreduce"
	"pupil/internal/hostport"
	"pupil/internal/natsserver"
)

// ServerConfig says where a worker's server listens.
type ServerConfig struct {
	Listen     string       // host:port; port 0: one that is free
	Plain      bool         // without TLS: for workers of one machine, on a loopback address
	MaxPayload int32        // largest message, in bytes; 0: 8 MiB
	MaxPending int64        // bytes that may wait for the owner, whose link says half of it is its limit; 0: 1 GiB
	Logger     *slog.Logger // of warnings and errors; nil: none
}

// Server is a worker's own NATS server. It serves the links of one generation after the other.
type Server struct {
	server  *server.Server
	address string
	plain   bool
	limits  allreduce.Limits
	key     ed25519.PrivateKey
	secret  string // the owner's password

	mu     sync.Mutex
	rings  map[string]*admission // by the name of this server in them
	opened chan struct{}         // closed when another ring opens
	door   time.Duration         // that a ring which is not open is waited for

	spare  chan spare    // see prepare
	ended  chan struct{} // closed when prepare has returned
	closed chan struct{} // when the server closes
	once   sync.Once
}

// spare is an inbox for the next link, or why there is none.
type spare struct {
	in  *inbox
	err error
}

// admission is what a ring lets in.
type admission struct {
	tls      *tls.Config // nil for a plain server
	password string
	subject  string
}

const (
	ownerName     = "owner"                // no DNS name of a ring
	handshakeTime = 10                     // seconds, for TLS and for the password
	doorTime      = 200 * time.Millisecond // see Server.door
	writeDeadline = allreduce.MaxDeadline  // of the server: for its owner, who may be held up
	maxPayload    = int32(8 << 20)         // defaults
	maxPending    = int64(1 << 30)
)

// Listen starts a server.
func Listen(c ServerConfig) (*Server, error) {
	if err := hostport.CheckListen(c.Listen); err != nil {
		return nil, fmt.Errorf("listen for the ring: %w", err)
	}
	if c.Plain && !hostport.Loopback(c.Listen) {
		return nil, fmt.Errorf("listen for the ring at %s: without TLS it must be a loopback address, such as 127.0.0.1:0", c.Listen)
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = maxPayload
	}
	if c.MaxPending == 0 {
		c.MaxPending = maxPending
	}
	host, text, _ := net.SplitHostPort(c.Listen)
	port, _ := strconv.Atoi(text)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for the ring: %w", err)
	}
	s := &Server{
		plain: c.Plain, key: key, secret: randomName(), rings: map[string]*admission{},
		opened: make(chan struct{}), door: doorTime, spare: make(chan spare), ended: make(chan struct{}), closed: make(chan struct{}),
		limits: allreduce.Limits{Message: int(c.MaxPayload), Pending: int(c.MaxPending / 2)},
	}
	if s.server, err = natsserver.Start(s.options(c, host, port), c.Logger, notOpen); err != nil {
		return nil, fmt.Errorf("listen for the ring at %s: %w", c.Listen, err)
	}
	s.address = s.server.Addr().String()
	go s.prepare()
	return s, nil
}

func (s *Server) options(c ServerConfig, host string, port int) *server.Options {
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{
		ServerName: "pupil-ring", Host: host, Port: port, NoSigs: true, NoLog: true, NoSystemAccount: true,
		MaxPayload: c.MaxPayload, MaxPending: c.MaxPending, WriteDeadline: writeDeadline,
		AuthTimeout: 2 * handshakeTime, CustomClientAuthentication: s,
	}
	if !c.Plain {
		o.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, GetConfigForClient: s.hello,
		}
		o.TLSHandshakeFirst, o.TLSTimeout = true, handshakeTime
	}
	return o
}

// notOpen is what a server says of a peer that was told of a new generation much earlier: it tries again.
const notOpen = "is not open here"

// hello finds the ring that a client wants to speak to.
func (s *Server) hello(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if a := s.ring(h.ServerName); a != nil {
		return a.tls, nil
	}
	return nil, fmt.Errorf("ring %q %s", h.ServerName, notOpen)
}

// ring waits a moment for a ring that is not open: the peer that knocks was told of the generation first. nil: it does not open.
func (s *Server) ring(name string) *admission {
	late := time.NewTimer(s.door)
	defer late.Stop()
	for {
		s.mu.Lock()
		a, opened := s.rings[name], s.opened
		s.mu.Unlock()
		if a != nil {
			return a
		}
		select {
		case <-opened:
		case <-late.C:
			return nil
		case <-s.closed:
			return nil
		}
	}
}

var _ server.Authentication = (*Server)(nil)

// Check implements server.Authentication.
func (s *Server) Check(c server.ClientAuthentication) bool {
	o, state := c.GetOpts(), c.GetTLSConnectionState()
	if o.Username == ownerName {
		ok := equal(o.Password, s.secret)
		if ok {
			c.RegisterUser(&server.User{Username: ownerName})
		}
		return ok
	}
	a := s.ring(o.Username)
	if a == nil || !equal(o.Password, a.password) {
		return false
	}
	// The certificate was checked by the ring that TLS was told of: it must be this one.
	if !s.plain && (state == nil || state.ServerName != o.Username) {
		return false
	}
	c.RegisterUser(&server.User{Username: o.Username, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{a.subject}},
		Subscribe: &server.SubjectPermission{Deny: []string{">"}},
	}})
	return true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// prepare keeps an inbox ready until the server closes, so that a link need not wait for its greeting.
func (s *Server) prepare() {
	defer close(s.ended)
	for {
		var next spare
		var broken chan struct{} // nil: never
		if next.in, next.err = newInbox(s); next.err == nil {
			broken = next.in.ended
		}
		select {
		case s.spare <- next:
			continue
		case <-broken:
			next.in.close()
			continue
		case <-s.closed:
		}
		if next.err == nil {
			next.in.close()
		}
		return
	}
}

// open opens the inbox of a link, to which nobody may publish yet.
func (s *Server) open(ctx context.Context, subject string) (*inbox, error) {
	var next spare
	select {
	case next = <-s.spare:
	case <-s.closed:
		next.err = allreduce.ErrLinkClosed
	case <-ctx.Done():
		next.err = context.Cause(ctx)
	}
	if next.err != nil {
		return nil, next.err
	}
	if err := next.in.subscribe(ctx, subject); err != nil {
		next.in.close()
		return nil, err
	}
	return next.in, nil
}

// admit lets a ring's other ranks in.
func (s *Server) admit(name string, a *admission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rings[name] != nil {
		return fmt.Errorf("the ring %s is open already", name)
	}
	s.rings[name] = a
	close(s.opened)
	s.opened = make(chan struct{})
	return nil
}

// dismiss lets nobody of a ring in any more.
func (s *Server) dismiss(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rings, name)
}

// Addr is where the server listens, host:port.
func (s *Server) Addr() string { return s.address }

// PublicKey is the key that certificates for this server are issued to; nil for a plain one.
func (s *Server) PublicKey() ed25519.PublicKey {
	if s.plain {
		return nil
	}
	return s.key.Public().(ed25519.PublicKey) // of this type, by its documentation
}

// Close ends the server and all connections to it, and waits for that. Links end with allreduce.ErrLinkClosed.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closed) })
	natsserver.Stop(s.server)
	<-s.ended
	return nil
}

// randomName returns 128 random bits in hex.
func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

var errClosed = errors.New("the link is closing")
