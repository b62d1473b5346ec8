package meshlink

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

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
	Prefix       string // of the subjects, as in natslink.Config
	Generation   uint64
	Rank         int
	Peers        []Peer // by rank; this rank's too
	Authority    []byte // certificate of who has issued the others, DER
	Certificate  []byte // of this rank, for the server's public key; DER
	Password     string // of the generation
	PendingBytes int    // as in natslink.Config
	// Timeout is how long New tries to connect; a write to a rank that stands still ends after a quarter of it. The ring's
	// deadline is right. 0: DefaultTimeout.
	Timeout time.Duration
}

// ErrCredentials says that what was issued does not fit together or not to this server. Test with errors.Is.
var ErrCredentials = errors.New("the credentials do not fit")

// check lists what is wrong with the peers.
func (c Config) check() error {
	var errs []error
	seen := map[string]bool{}
	for rank, p := range c.Peers {
		if err := hostport.Check(p.Address); err != nil {
			errs = append(errs, fmt.Errorf("rank %d: %w", rank, err))
		}
		if p.Name == "" || seen[p.Name] {
			errs = append(errs, fmt.Errorf("rank %d: the name %q is empty or another rank's", rank, p.Name))
		}
		seen[p.Name] = true
	}
	if c.Rank < 0 || c.Rank >= len(c.Peers) {
		errs = append(errs, fmt.Errorf("rank is %d of %d peers", c.Rank, len(c.Peers)))
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
