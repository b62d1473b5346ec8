package certificate_test

import (
	"crypto/tls"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pupil/internal/certificate"
)

func authority(t *testing.T) (*certificate.Authority, certificate.Pair) {
	t.Helper()
	a, err := certificate.NewAuthority("tests", time.Now(), certificate.AuthorityLife)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Pair()
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

// source writes an authority's bundle and a new certificate, and tells its serial.
func source(t *testing.T, a *certificate.Authority, bundle []byte) (*certificate.Source, certificate.Files, *big.Int) {
	t.Helper()
	dir := t.TempDir()
	f := certificate.Files{Certificate: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), Authority: filepath.Join(dir, "a")}
	p, err := a.Issue(certificate.Request{Hosts: []string{"localhost"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{f.Certificate: p.Certificate, f.Key: p.Key, f.Authority: bundle} {
		replace(t, name, data)
	}
	s, err := certificate.Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.Parse(p.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return s, f, c[0].SerialNumber
}

func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// shake makes a handshake, and returns the errors of both sides.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient error) {
	t.Helper()
	a, b := net.Pipe()
	client.ServerName = "localhost"
	s, c := tls.Server(a, server), tls.Client(b, client)
	ended := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		a.Close()
		ended <- err
	}()
	if atClient = c.Handshake(); atClient == nil {
		_, atClient = c.Read(make([]byte, 1)) // with TLS 1.3 a server refuses after the client's handshake
	}
	b.Close()
	return <-ended, atClient
}

// TestRevoke: each side refuses a certificate that its own list has, from the next handshake on, and no other one.
func TestRevoke(t *testing.T) {
	a, pair := authority(t)
	server, serverFiles, serverSerial := source(t, a, pair.Certificate)
	client, clientFiles, clientSerial := source(t, a, pair.Certificate)
	serving, routes := server.Server(tls.RequireAndVerifyClientCert), client.Routes("localhost")
	check := func(what, atServer, atClient string) {
		t.Helper()
		for name, config := range map[string]*tls.Config{"client": client.Client(), "route": routes.Clone()} {
			s, c := shake(t, serving, config)
			for side, x := range map[string]struct {
				err  error
				want string
			}{"server": {s, atServer}, "client": {c, atClient}} {
				if (x.err == nil) != (x.want == "") || x.err != nil && !strings.Contains(x.err.Error(), x.want) {
					t.Errorf("%s, as a %s: the %s says %v, want %q", what, name, side, x.err, x.want)
				}
			}
		}
	}
	check("nothing revoked", "", "")
	revoke := func(file string, bundle []byte, serials ...*big.Int) []byte {
		t.Helper()
		out, err := a.Revoke(bundle, serials, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		replace(t, file, out)
		return out
	}
	other := revoke(serverFiles.Authority, pair.Certificate, big.NewInt(7))
	check("another one", "", "")
	revoke(serverFiles.Authority, other, clientSerial)
	check("the client's", "is revoked", "bad certificate")
	replace(t, serverFiles.Authority, pair.Certificate)
	check("nothing again", "", "")
	revoke(clientFiles.Authority, pair.Certificate, serverSerial)
	check("the server's", "bad certificate", "is revoked")
}

// TestList: a list is kept with what else is in the bundle, grows, and must be of an authority in it.
func TestList(t *testing.T) {
	a, pair := authority(t)
	b, others := authority(t)
	bundle, err := b.Revoke(append(pair.Certificate, others.Certificate...), []*big.Int{big.NewInt(5)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []int64{6, 7, 6} {
		if bundle, err = a.Revoke(bundle, []*big.Int{big.NewInt(serial)}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	authorities, err := certificate.Parse(bundle)
	if err != nil || len(authorities) != 2 {
		t.Fatalf("%d authorities, error %v", len(authorities), err)
	}
	lists, err := certificate.Lists(bundle, authorities)
	if err != nil || len(lists) != 2 || len(lists[0].RevokedCertificateEntries) != 1 || len(lists[1].RevokedCertificateEntries) != 2 ||
		lists[1].Number.Int64() != 3 {
		t.Errorf("lists %+v, error %v", lists, err)
	}
	if _, err := certificate.Lists(bundle, authorities[:1]); err == nil || !strings.Contains(err.Error(), "none of the authorities") {
		t.Errorf("a list of a stranger: error %v", err)
	}
	if _, err := a.Revoke(pair.Certificate, []*big.Int{authorities[0].SerialNumber}, time.Now()); err == nil {
		t.Error("the authority's own certificate was revoked")
	}
}
