package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs the certificates by which the parts of the control plane, and their users, know each other.
type authority struct {
	t           *testing.T
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// pair are the files of a certificate and of its key.
type pair struct{ certificate, key string }

func newAuthority(t *testing.T, folder string) authority {
	t.Helper()
	a := authority{t: t, folder: folder}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	a.key = a.draw()
	a.certificate = a.sign("ca", template, template, &a.key.PublicKey)
	return a
}

// file is that of the authority's own certificate.
func (a authority) file() string { return filepath.Join(a.folder, "ca.pem") }

// issue makes a certificate of a user of Kubernetes, in a group if there is one, who may also serve on loopback.
func (a authority) issue(user, group string) pair {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: user},
		NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	name := filepath.Base(user)
	key := a.draw()
	a.sign(name, template, a.certificate, &key.PublicKey)
	return pair{filepath.Join(a.folder, name+".pem"), a.writeKey(name, key)}
}

func (a authority) draw() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// sign writes NAME.pem.
func (a authority) sign(name string, template, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// writeKey writes NAME.key and says where that is.
func (a authority) writeKey(name string, key *ecdsa.PrivateKey) string {
	a.t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".key", "EC PRIVATE KEY", der)
}

func (a authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.folder, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}
