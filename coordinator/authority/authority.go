// Package authority issues the credentials with which the workers of one generation speak to each other: a certificate for
// each rank, from an authority that exists for this generation alone, and a password. All are made of a secret of the
// generation, so that coordinators which share it issue what fits together, whichever leads. Nothing of it is written down.
package authority

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"
)

// validity is how long a certificate holds from its issue, and margin how far the workers' clocks may be behind. They are
// looked at when a connection is opened: a generation that has run for longer could not mend a broken one.
const (
	validity = 366 * 24 * time.Hour
	margin   = 24 * time.Hour
)

// Authority issues the credentials of one generation.
type Authority struct {
	certificate *x509.Certificate
	key         ed25519.PrivateKey
	now         time.Time
	domain      string
	password    string
}

// NewSecret draws the secret of an authority that no other process needs to make.
func NewSecret() []byte {
	b := make([]byte, sha256.Size)
	_, _ = rand.Read(b) // it never fails
	return b
}

// New makes the authority of a generation. Its key, names and password are functions of secret and generation: what one process
// has issued is good beside what another one has. The secret must be of this generation alone.
func New(secret []byte, generation uint64, now time.Time) (*Authority, error) {
	if len(secret) < sha256.Size {
		return nil, fmt.Errorf("authority: a secret of %d bytes; it must have %d", len(secret), sha256.Size)
	}
	of := func(what string) []byte {
		h := hmac.New(sha256.New, secret)
		fmt.Fprintf(h, "%s %d", what, generation)
		return h.Sum(nil)
	}
	private := ed25519.NewKeyFromSeed(of("key"))
	public := private.Public()
	a := &Authority{key: private, now: now, password: hex.EncodeToString(of("password")[:16])}
	a.domain = fmt.Sprintf("g%d.%s.ring", generation, hex.EncodeToString(of("domain")[:8]))
	t := a.template("authority." + a.domain)
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign
	t.PermittedDNSDomains, t.PermittedDNSDomainsCritical = []string{a.domain}, true
	der, err := x509.CreateCertificate(rand.Reader, t, t, public, private)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return a, nil
}

func (a *Authority) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(random())[:19]), Subject: pkix.Name{CommonName: name},
		NotBefore: a.now.Add(-margin), NotAfter: a.now.Add(validity),
	}
}

// Certificate is the authority's own, DER.
func (a *Authority) Certificate() []byte { return a.certificate.Raw }

// Password is what a worker must know to publish to another.
func (a *Authority) Password() string { return a.password }

// Name is a rank's name in its certificate. No other rank, generation or authority has the same.
func (a *Authority) Name(rank int) string { return fmt.Sprintf("r%d.%s", rank, a.domain) }

// Issue certifies that a rank has a key, as a server and as a client; DER.
func (a *Authority) Issue(rank int, key []byte) ([]byte, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("certificate of rank %d: its key has %d bytes; an Ed25519 key has %d", rank, len(key),
			ed25519.PublicKeySize)
	}
	t := a.template(a.Name(rank))
	t.DNSNames = []string{a.Name(rank)}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.certificate, ed25519.PublicKey(key), a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate of rank %d: %w", rank, err)
	}
	return der, nil
}

// random returns 128 random bits in hex.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
