package control

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
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
	Name        string              // of the server, unique among those of a cluster; default "pupil"
	Host        string              // address to listen on; default 127.0.0.1
	Port        int                 // default: one that is free
	Advertise   string              // host:port that clients reach it by; default: where it listens
	Routes      *Routes             // to the other brokers of a cluster; nil: it is alone
	MaxPayload  int32               // largest message, in bytes; default 8 MiB
	Logger      *slog.Logger        // of the server's warnings and errors; nil: none
	MaxPending  int64               // bytes that may wait for a slow connection; default 1 GiB; see allreduce.Config
}

// Routes say how a broker reaches the others of its cluster, and they it. All have the same credentials. What is published at
// one is heard at all; a client may connect to any, and is told of the others.
type Routes struct {
	Host      string   // address to listen on for the other brokers
	Port      int      // 0: one that is free
	Advertise string   // host:port that the others reach it by; "": where it listens
	Peers     []string // host:port of the others; those that are not there are tried again for ever
}

// Broker is a NATS server within this process. Each worker's credentials let it use its own subjects only.
type Broker struct {
	server *server.Server
	users  Credentials
	guard  *guard
	scheme string
}

// The broker's accounts. What is said in one is not heard in another.
const (
	account       = "PUPIL"       // coordinators and workers
	ringAccount   = "PUPIL-RINGS" // the sums among workers; routes carry them beside what workers say, which shall not wait for them
	systemAccount = "SYSTEM"
)

const (
	writeDeadline = 30 * time.Second
	routePing     = 5 * time.Second // a route that answers none of routePings is closed, and made anew
	routePings    = 3
	routeRetries  = 1 << 30 // of routes that others have told of, as for ever as for Routes.Peers; there is one try a second
)

// StartBroker starts a server and waits until it takes connections.
func StartBroker(o BrokerOptions) (*Broker, error) {
	b := &Broker{users: NewCredentials(), scheme: "nats"}
	if o.Credentials != nil {
		if err := o.Credentials.Validate(); err != nil {
			return nil, fmt.Errorf("start broker: %w", err)
		}
		b.users = *o.Credentials
	}
	if b.users.Shared {
		return nil, errors.New("start broker: its credentials are for a NATS server of another kind (shared)")
	}
	if o.TLS != nil {
		b.scheme = "tls"
	}
	var err error
	g := &guard{users: b.users, ready: make(chan struct{})}
	b.guard = g
	b.server, err = natsserver.Start(b.options(o, g), o.Logger)
	g.server = b.server
	close(g.ready)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return b, nil
}

func (b *Broker) options(o BrokerOptions, g *guard) *server.Options {
	if o.Name == "" {
		o.Name = "pupil"
	}
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
	options := &server.Options{
		ServerName: o.Name, Host: o.Host, Port: o.Port, ClientAdvertise: o.Advertise, NoSigs: true, NoLog: true,
		MaxPayload: o.MaxPayload, MaxPending: o.MaxPending, WriteDeadline: writeDeadline, TLSConfig: o.tls(),
		Accounts:      []*server.Account{server.NewAccount(account), server.NewAccount(ringAccount), server.NewAccount(systemAccount)},
		SystemAccount: systemAccount, CustomClientAuthentication: g,
	}
	if o.Routes != nil {
		b.route(options, o)
	}
	return options
}

// route adds what makes the server one of a cluster.
func (b *Broker) route(to *server.Options, o BrokerOptions) {
	r := *o.Routes
	if r.Port == 0 {
		r.Port = server.RANDOM_PORT
	}
	password := b.users.routes()
	to.Cluster = server.ClusterOpts{
		Name: "pupil", Host: r.Host, Port: r.Port, Advertise: r.Advertise, Username: userRoute, Password: password,
		ConnectRetries: routeRetries, PinnedAccounts: []string{account}, Compression: server.CompressionOpts{Mode: server.CompressionOff},
		PingInterval: routePing, MaxPingsOut: routePings, WriteDeadline: writeDeadline,
	}
	var hosts []string // in the certificates of the others
	for _, p := range r.Peers {
		to.Routes = append(to.Routes, &url.URL{Scheme: "nats", Host: p, User: url.UserPassword(userRoute, password)})
		if host, _, err := net.SplitHostPort(p); err == nil {
			hosts = append(hosts, host)
		}
	}
	if o.TLS != nil {
		to.Cluster.TLSConfig, to.Cluster.TLSTimeout = o.TLS.Routes(hosts...), routeTLSTime.Seconds()
	}
	const hour = 3600 // tries
	to.ConnectErrorReports, to.ReconnectErrorReports = hour, hour
}

// routeTLSTime bounds the handshake of a route.
const routeTLSTime = 5 * time.Second

// tls is what the server asks of those who connect: a certificate of the same authority, and then a password.
func (o BrokerOptions) tls() *tls.Config {
	if o.Open {
		return o.TLS.Server(tls.VerifyClientCertIfGiven)
	}
	return o.TLS.Server(tls.RequireAndVerifyClientCert)
}

// URL is where workers connect to, without credentials: here, or to one of the other brokers that this one knows of.
func (b *Broker) URL() string {
	v, err := b.server.Varz(nil)
	if err != nil || len(v.ClientConnectURLs) == 0 { // it is being closed
		return b.server.ClientURL()
	}
	urls := v.ClientConnectURLs
	slices.Sort(urls)
	for i, host := range urls {
		urls[i] = b.scheme + "://" + host
	}
	return strings.Join(urls, ",")
}

// Peers is the number of other brokers that this one reaches.
func (b *Broker) Peers() int { return len(b.server.ActivePeers()) }

// RoutePort is where the server listens for other brokers, if it does.
func (b *Broker) RoutePort() int {
	if a := b.server.ClusterAddr(); a != nil {
		return a.Port
	}
	return 0
}

// Port is where the server listens.
func (b *Broker) Port() int { return b.server.Addr().(*net.TCPAddr).Port }

// Users are the broker's credentials.
func (b *Broker) Users() Credentials { return b.users }

// Close ends the server and all connections, and waits for that.
func (b *Broker) Close() { natsserver.Stop(b.server) }

// connect opens a connection within the process, which needs no TLS. It lives as long as the server.
func (b *Broker) connect(user string, failed nats.ErrHandler) (*nats.Conn, error) {
	return dial("nats://"+b.server.Addr().String(), b.users, user, failed, nats.InProcessServer(b.server), nats.NoReconnect())
}
