package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// How long certificates hold.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	HostLife      = 365 * 24 * time.Hour // no browser takes one that holds for more than 398 days
	margin        = time.Hour            // that another machine's clock may be behind
)

// Pair is a certificate and its key, both in PEM.
type Pair struct{ Certificate, Key []byte }

// Authority signs the certificates of a cluster. Its keys are of the curve P-256: browsers take no others that are as short.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// Request says what a certificate is for.
type Request struct {
	Name  string        // common name; "": the first of Hosts
	Hosts []string      // names and IP addresses by which others reach the host; none: a client's certificate
	Life  time.Duration // 0: HostLife
}

// NewAuthority makes an authority with a key of its own.
func NewAuthority(name string, now time.Time, life time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	t := template(name, now, life)
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	return &Authority{certificate: c, key: key}, nil
}

// LoadAuthority reads an authority from PEM.
func LoadAuthority(p Pair) (*Authority, error) {
	all, err := Parse(p.Certificate)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(p.Key)
	if block == nil {
		return nil, errors.New("the authority's key is not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the authority's key is a %T, which cannot sign", parsed)
	}
	for _, c := range all { // of a bundle, that of the key
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(c.PublicKey) {
			if !c.IsCA {
				return nil, fmt.Errorf("the certificate of %s is not an authority's", c.Subject.CommonName)
			}
			return &Authority{certificate: c, key: key}, nil
		}
	}
	return nil, errors.New("no certificate of the authority belongs to its key")
}

// Pair is the authority in PEM.
func (a *Authority) Pair() (Pair, error) { return encode(a.certificate.Raw, a.key) }

// NotAfter is when the authority's own certificate ends, and with it all that it has signed.
func (a *Authority) NotAfter() time.Time { return a.certificate.NotAfter }

// Issue makes a key and a certificate for it.
func (a *Authority) Issue(r Request, now time.Time) (Pair, error) {
	if r.Name == "" && len(r.Hosts) == 0 {
		return Pair{}, errors.New("a certificate needs a name or a host")
	}
	if r.Name == "" {
		r.Name = r.Hosts[0]
	}
	if r.Life == 0 {
		r.Life = HostLife
	}
	if now.After(a.certificate.NotAfter) {
		return Pair{}, fmt.Errorf("the authority's certificate has expired on %s", day(a.certificate.NotAfter))
	}
	t := template(r.Name, now, r.Life)
	if t.NotAfter.After(a.certificate.NotAfter) { // it would be refused from then on in any case
		t.NotAfter = a.certificate.NotAfter
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, h := range r.Hosts {
		if err := checkHost(h); err != nil {
			return Pair{}, err
		}
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	if len(r.Hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key for %s: %w", r.Name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate for %s: %w", r.Name, err)
	}
	return encode(der, key)
}

// checkHost refuses what could not be a host's name in a certificate.
func checkHost(h string) error {
	if net.ParseIP(h) != nil {
		return nil
	}
	plain := strings.TrimPrefix(h, "*.")
	for _, label := range strings.Split(plain, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q is no host; give a name or an IP address, without a port", h)
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
				return fmt.Errorf("%q is no host: it contains %q; give a name or an IP address, without a port", h, r)
			}
		}
	}
	return nil
}

func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // it never fails
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-margin), NotAfter: now.Add(life),
	}
}

func encode(der []byte, key crypto.Signer) (Pair, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode the key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// Parse reads all certificates of a PEM file.
func Parse(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return all, nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
