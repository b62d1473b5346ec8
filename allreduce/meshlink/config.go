package meshlink

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"pupil/allreduce/natslink"
	"pupil/internal/hostport"
)

// DefaultTimeout is the default of Config.Timeout.
const DefaultTimeout = 10 * time.Second

// Peer is a rank's server.
type Peer struct {
	Address string // host:port
	Name    string // in its certificate: a DNS name, another one for every rank and generation
}

// Config says with whom a link speaks. But for what natslink.Config says of them, all is as the coordinator has issued it.
type Config struct {
	Prefix      string // of the subjects, as in natslink.Config
	Generation  uint64
	Rank        int
	Peers       []Peer // by rank; this rank's too
	Authority   []byte // certificate of who has issued the others, DER; for a plain server nil
	Certificate []byte // of this rank, for the server's public key; DER; for a plain server nil
	Password    string // of the generation
	// Timeout is how long New tries to connect; a write to a rank that stands still ends after a quarter of it. The ring's
	// deadline is right. 0: DefaultTimeout.
	Timeout time.Duration
	// Gone hears, at most once each and from a goroutine of the link, of another rank whose connection has broken and at whose address
	// nobody greets a new one, which is refused or closed: its process has ended. One that stands still or is cut off refuses and
	// closes nothing. nil: nobody hears.
	Gone func(rank int)
}

// ErrCredentials says that what was issued does not fit together or not to this server. Test with errors.Is.
var ErrCredentials = errors.New("the credentials do not fit")

// subject is where a rank listens.
func (c Config) subject(rank int) string { return c.over().Subject(rank) }

func (c Config) over() natslink.Config {
	return natslink.Config{Prefix: c.Prefix, Generation: c.Generation, Rank: c.Rank, Size: len(c.Peers)}
}

// check lists what is wrong, but for certificates.
func (c Config) check(plain bool) error {
	errs := []error{c.over().Validate()}
	if given := len(c.Authority)+len(c.Certificate) > 0; plain && given {
		errs = append(errs, fmt.Errorf("%w: this worker's server is without TLS, and certificates were issued", ErrCredentials))
	}
	seen := map[string]bool{}
	for rank, p := range c.Peers {
		if err := hostport.Check(p.Address); err != nil {
			errs = append(errs, fmt.Errorf("rank %d: %w", rank, err))
		} else if plain && !hostport.Loopback(p.Address) {
			errs = append(errs, fmt.Errorf("rank %d at %s: without TLS only this machine's loopback addresses are spoken to", rank, p.Address))
		}
		if p.Name == "" || seen[p.Name] {
			errs = append(errs, fmt.Errorf("rank %d: the name %q is empty or another rank's", rank, p.Name))
		}
		seen[p.Name] = true
	}
	if c.Password == "" {
		errs = append(errs, errors.New("password is missing"))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout is %s; it must not be negative", c.Timeout))
	}
	return errors.Join(errs...)
}

// tls makes this rank's side of all connections, as the one that dials and the one that is dialled.
func (c Config) tls(key ed25519.PrivateKey) (*tls.Config, error) {
	authority, err := x509.ParseCertificate(c.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: the authority's certificate: %w", ErrCredentials, err)
	}
	own, err := x509.ParseCertificate(c.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: rank %d's certificate: %w", ErrCredentials, c.Rank, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	if _, err := own.Verify(x509.VerifyOptions{
		Roots: pool, DNSName: c.Peers[c.Rank].Name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}); err != nil {
		return nil, fmt.Errorf("%w: rank %d's certificate: %w", ErrCredentials, c.Rank, err)
	}
	if public, ok := key.Public().(ed25519.PublicKey); !ok || !public.Equal(own.PublicKey) {
		return nil, fmt.Errorf("%w: rank %d's certificate is for another key", ErrCredentials, c.Rank)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.Certificate}, PrivateKey: key, Leaf: own}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true, // a connection lasts for a generation
	}, nil
}
