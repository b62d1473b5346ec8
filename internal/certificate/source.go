package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Files are the paths of PEM files. A process that only dials may have the authority alone.
type Files struct {
	Certificate string // of this process
	Key         string // its key
	Authority   string // certificates of those who sign the certificates of all, several during a change; and lists of revoked ones
}

// Source is a process's certificates. It may be used from several goroutines; a nil Source is no TLS.
type Source struct {
	files  Files
	logger *slog.Logger

	mu      sync.Mutex
	stamps  [3]stamp
	told    string // the newest trouble, so that it is told once
	current held
}

// held is what is in use.
type held struct {
	pair  *tls.Certificate // nil: none
	roots *x509.CertPool
	void  revoked
	first time.Time // when the first of the certificates in use ends, the authorities' too if all of them do
}

// stamp tells a file from what stood in its place before.
type stamp struct {
	info os.FileInfo
}

func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() &&
		s.info.ModTime().Equal(o.info.ModTime())
}

// Open reads the files. Without any it returns nil.
func Open(f Files, logger *slog.Logger) (*Source, error) {
	if f == (Files{}) {
		return nil, nil
	}
	if f.Authority == "" {
		return nil, errors.New("the authority's certificate is missing")
	}
	if (f.Certificate == "") != (f.Key == "") {
		return nil, errors.New("a certificate and its key belong together; one of them is missing")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{files: f, logger: logger}
	stamps, err := s.look()
	if err != nil {
		return nil, err
	}
	if s.current, err = s.read(); err != nil {
		return nil, err
	}
	s.stamps = stamps
	return s, nil
}

// look asks the file system for the files' stamps.
func (s *Source) look() (all [3]stamp, err error) {
	for i, name := range []string{s.files.Certificate, s.files.Key, s.files.Authority} {
		if name == "" {
			continue
		}
		if all[i].info, err = os.Stat(name); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (s *Source) read() (h held, err error) {
	data, err := os.ReadFile(s.files.Authority)
	if err != nil {
		return h, err
	}
	authorities, err := Parse(data)
	if err != nil {
		return h, fmt.Errorf("%s: %w", s.files.Authority, err)
	}
	h.roots = x509.NewCertPool()
	for _, c := range authorities {
		h.roots.AddCert(c)
		if c.NotAfter.After(h.first) { // an old one of a bundle may end
			h.first = c.NotAfter
		}
	}
	if h.void, err = readRevoked(data, authorities); err != nil {
		return h, fmt.Errorf("%s: %w", s.files.Authority, err)
	}
	if s.files.Certificate == "" {
		return h, nil
	}
	pair, err := tls.LoadX509KeyPair(s.files.Certificate, s.files.Key)
	if err != nil {
		return h, fmt.Errorf("certificate %s with key %s: %w", s.files.Certificate, s.files.Key, err)
	}
	h.pair = &pair
	if pair.Leaf.NotAfter.Before(h.first) {
		h.first = pair.Leaf.NotAfter
	}
	return h, nil
}

// use returns what the files hold now, or held last that could be used.
func (s *Source) use() held {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps, err := s.look()
	changed := false
	for i := range stamps {
		changed = changed || (stamps[i].info != nil || s.stamps[i].info != nil) && !stamps[i].same(s.stamps[i])
	}
	if err == nil && !changed {
		return s.current
	}
	if err == nil {
		var next held
		if next, err = s.read(); err == nil {
			s.current, s.stamps, s.told = next, stamps, ""
			s.logger.Info("certificates were exchanged", "certificate", s.files.Certificate, "until", day(next.first))
			return next
		}
	}
	if err.Error() != s.told {
		s.told = err.Error()
		s.logger.Warn("the certificates have changed and cannot be used; those from before stay in use", "err", err)
	}
	return s.current
}

// Server is for a listener, for as long as the process lives. clients says what is asked of those who connect.
func (s *Source) Server(clients tls.ClientAuthType) *tls.Config {
	if s == nil {
		return nil
	}
	now := func() *tls.Config {
		h := s.use()
		c := &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: clients, ClientCAs: h.roots,
			NextProtos: []string{"http/1.1"}, // other protocols do not ask for one
			// A ticket of before would carry a session over an exchange of the authority.
			SessionTicketsDisabled: true,
			VerifyConnection:       h.void.verify,
		}
		if h.pair != nil {
			c.Certificates = []tls.Certificate{*h.pair}
		}
		return c
	}
	c := now() // what is looked at before a handshake
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	return c
}

// Client is for the next connection to another process: what the files hold now.
func (s *Source) Client() *tls.Config {
	if s == nil {
		return nil
	}
	h := s.use()
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: h.roots, VerifyConnection: s.verify}
	if h.pair != nil {
		c.Certificates = []tls.Certificate{*h.pair}
	}
	return c
}

// Routes is for a program that keeps one configuration for both sides of its connections, for as long as it lives: each
// side shows its certificate, and that of who listens is for one of the hosts, or for the name that was dialled.
func (s *Source) Routes(hosts ...string) *tls.Config {
	if s == nil {
		return nil
	}
	c := s.Server(tls.RequireAndVerifyClientCert)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := s.Certificate()
		return &pair, err
	}
	// The roots of a configuration are those of its making; VerifyConnection asks for today's. A listener does not come
	// here: GetConfigForClient gives it another configuration.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the other side shows no certificate")
		}
		if err := s.verify(state); err != nil {
			return err
		}
		roots, _ := s.Roots() // it never fails
		o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, between := range state.PeerCertificates[1:] {
			o.Intermediates.AddCert(between)
		}
		leaf := state.PeerCertificates[0]
		if _, err := leaf.Verify(o); err != nil { // by default for servers
			return err
		}
		var err error
		for _, host := range append([]string{state.ServerName}, hosts...) {
			if host == "" { // an address was dialled
				continue
			}
			if err = leaf.VerifyHostname(host); err == nil {
				return nil
			}
		}
		if err == nil {
			err = errors.New("the certificate is for no host that is known here")
		}
		return err
	}
	return c
}

// verify refuses a connection to who shows a certificate that is revoked now.
func (s *Source) verify(state tls.ConnectionState) error { return s.use().void.verify(state) }

// DialTLS connects and makes the handshake, as http.Transport.DialTLSContext does.
func (s *Source) DialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	d := &tls.Dialer{Config: s.Client()}
	return d.DialContext(ctx, network, address)
}

// Roots are the authorities, now. It has the form that NATS clients ask for.
func (s *Source) Roots() (*x509.CertPool, error) { return s.use().roots, nil }

// Certificate is this process's own, now; an empty one where it has none. It has the form that NATS clients ask for.
func (s *Source) Certificate() (tls.Certificate, error) {
	if h := s.use(); h.pair != nil {
		return *h.pair, nil
	}
	return tls.Certificate{}, nil
}

// HasCertificate says whether this process has one, and not the authority's alone.
func (s *Source) HasCertificate() bool { return s != nil && s.files.Certificate != "" }

// NotAfter is when the certificates in use end.
func (s *Source) NotAfter() time.Time { return s.use().first }

// warnTime is how long before the end of a certificate the log says so, and again every day.
const warnTime = 30 * 24 * time.Hour

// Watch warns of certificates that will end soon, and takes exchanged files up also while nobody connects, until ctx ends.
// A nil Source has nothing to watch.
func (s *Source) Watch(ctx context.Context) {
	if s == nil {
		return
	}
	const often, daily = time.Minute, 24 * time.Hour
	ticker := time.NewTicker(often)
	defer ticker.Stop()
	var told time.Time
	for {
		if now := time.Now(); now.Sub(told) >= daily {
			if text := s.Ending(now); text != "" {
				s.logger.Warn(text, "certificate", s.files.Certificate, "authority", s.files.Authority)
				told = now
			}
		}
		s.use()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Ending says that the certificates in use have ended or will soon; "" when there is time.
func (s *Source) Ending(now time.Time) string {
	end := s.NotAfter()
	switch left := end.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("the certificate has expired on %s: nobody connects with it any more; issue a new one (coordinator certs issue --replace)", day(end))
	case left < warnTime:
		return fmt.Sprintf("the certificate expires on %s, in %d days; issue a new one (coordinator certs issue --replace)", day(end),
			int(left/(24*time.Hour)))
	}
	return ""
}
