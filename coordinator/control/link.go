package control

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/internal/certificate"
)

// Link is the way to a broker: a *Broker of this process, or a *Remote one.
type Link interface {
	// URL is where workers connect to, without credentials.
	URL() string
	// Users are the broker's credentials.
	Users() Credentials

	connect(user string, failed nats.ErrHandler) (*nats.Conn, error)
}

var (
	_ Link = (*Broker)(nil)
	_ Link = (*Remote)(nil)
)

// Remote is a broker of another process. It may be gone for a while: connections to it come back by themselves.
type Remote struct {
	url   string
	users Credentials
	tls   *certificate.Source
}

// NewRemote returns the way to the broker at an address, or at one of several that are separated by commas. A tls://
// address demands TLS; tls says with which certificates, nil: with the system's.
func NewRemote(address string, users Credentials, tls *certificate.Source) (*Remote, error) {
	if err := users.Validate(); err != nil {
		return nil, err
	}
	for _, a := range strings.Split(address, ",") {
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return nil, fmt.Errorf("%q is no address of a broker; write it as nats://host:port", a)
		}
		if u.User != nil {
			return nil, fmt.Errorf("the broker's address has a user; its passwords come from a file of credentials")
		}
	}
	return &Remote{url: address, users: users, tls: tls}, nil
}

// URL is what NewRemote was given.
func (r *Remote) URL() string { return r.url }

// Users are the broker's credentials.
func (r *Remote) Users() Credentials { return r.users }

func (r *Remote) connect(user string, failed nats.ErrHandler) (*nats.Conn, error) {
	const wait = 100 * time.Millisecond
	options := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(wait), nats.ReconnectJitter(wait/2, wait/2),
		nats.ReconnectBufSize(-1), // what is sent without a connection is lost; orders are repeated, see give
	}
	options = append(options, secure(r.tls))
	return dial(r.url, r.users, user, failed, options...)
}

// secure says with which certificates, at each connection anew. A tls:// URL demands that they are used.
func secure(s *certificate.Source) nats.Option {
	return func(o *nats.Options) error {
		if s != nil {
			o.TLSConfig, o.RootCAsCB, o.TLSCertCB = s.Client(), s.Roots, s.Certificate
		}
		return nil
	}
}

// dial connects as one of the broker's users.
func dial(url string, users Credentials, user string, failed nats.ErrHandler, more ...nats.Option) (*nats.Conn, error) {
	options := append([]nats.Option{
		nats.UserInfo(user, users.password(user)), nats.Name(user), nats.ErrorHandler(failed),
	}, more...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect %s to the broker at %s", user, url), err)
	}
	return nc, nil
}
