package control

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/internal/certificate"
	"pupil/internal/natsserver"
)

// BrokerOptions say how the embedded NATS server listens. The zero value is right for one machine.
type BrokerOptions struct {
	Credentials *Credentials        // nil: drawn at each start
	TLS         *certificate.Source // nil: plain TCP
	Open        bool                // with TLS: clients need no certificate of their own
	Host        string              // address to listen on; default 127.0.0.1
	Port        int                 // default: one that is free
	MaxPayload  int32               // largest message, in bytes; default 8 MiB
	Logger      *slog.Logger        // of the server's warnings and errors; nil: none
	MaxPending  int64               // bytes that may wait for a slow connection; default 1 GiB; see allreduce.Config
}

// Broker is a NATS server within this process. Each worker's credentials let it use its own subjects only.
type Broker struct {
	server *server.Server
	users  Credentials
}

const (
	account       = "PUPIL"
	systemAccount = "SYSTEM"
	writeDeadline = 30 * time.Second
)

// StartBroker starts a server and waits until it takes connections.
func StartBroker(o BrokerOptions) (*Broker, error) {
	b := &Broker{users: NewCredentials()}
	if o.Credentials != nil {
		if err := o.Credentials.Validate(); err != nil {
			return nil, fmt.Errorf("start broker: %w", err)
		}
		b.users = *o.Credentials
	}
	if b.users.Shared {
		return nil, errors.New("start broker: its credentials are for a NATS server of another kind (shared)")
	}
	var err error
	g := &guard{users: b.users, ready: make(chan struct{})}
	b.server, err = natsserver.Start(b.options(o, g), o.Logger)
	g.server = b.server
	close(g.ready)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return b, nil
}

func (b *Broker) options(o BrokerOptions, g *guard) *server.Options {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 8 << 20
	}
	if o.MaxPending == 0 {
		o.MaxPending = 1 << 30
	}
	return &server.Options{
		ServerName: "pupil", Host: o.Host, Port: o.Port, NoSigs: true, NoLog: true,
		MaxPayload: o.MaxPayload, MaxPending: o.MaxPending, WriteDeadline: writeDeadline, TLSConfig: o.tls(),
		Accounts: []*server.Account{server.NewAccount(account), server.NewAccount(systemAccount)}, SystemAccount: systemAccount,
		CustomClientAuthentication: g,
	}
}

// tls is what the server asks of those who connect: a certificate of the same authority, and then a password.
func (o BrokerOptions) tls() *tls.Config {
	if o.Open {
		return o.TLS.Server(tls.VerifyClientCertIfGiven)
	}
	return o.TLS.Server(tls.RequireAndVerifyClientCert)
}

// URL is where workers connect to, without credentials.
func (b *Broker) URL() string { return b.server.ClientURL() }

// Port is where the server listens.
func (b *Broker) Port() int { return b.server.Addr().(*net.TCPAddr).Port }

// Users are the broker's credentials.
func (b *Broker) Users() Credentials { return b.users }

// Close ends the server and all connections, and waits for that.
func (b *Broker) Close() { natsserver.Stop(b.server) }

// connect opens a connection within the process. It lives as long as the server.
func (b *Broker) connect(user string, failed nats.ErrHandler) (*nats.Conn, error) {
	return dial(b.URL(), b.users, user, failed, nats.InProcessServer(b.server), nats.NoReconnect())
}
