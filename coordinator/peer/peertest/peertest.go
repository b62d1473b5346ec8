// Package peertest makes certificates for tests.
package peertest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pupil/internal/certificate"
)

// Certificates makes an authority and a certificate of it for a host, by name or by address.
func Certificates(t testing.TB, host string) certificate.Files {
	t.Helper()
	dir := t.TempDir()
	f := certificate.Files{
		Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Authority: filepath.Join(dir, "ca.pem"),
	}
	a := Authority(t)
	p, err := a.Pair()
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Authority, p.Certificate)
	Issue(t, a, f, host, time.Now())
	return f
}

// Authority makes one.
func Authority(t testing.TB) *certificate.Authority {
	t.Helper()
	a, err := certificate.NewAuthority("tests", time.Now(), certificate.AuthorityLife)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Issue writes a certificate of an authority for a host, which holds for a year from a time on.
func Issue(t testing.TB, a *certificate.Authority, f certificate.Files, host string, at time.Time) {
	t.Helper()
	p, err := a.Issue(certificate.Request{Hosts: []string{host}}, at)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Key, p.Key)
	write(t, f.Certificate, p.Certificate)
}

// write replaces a file, as a user would.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Open opens files.
func Open(t testing.TB, f certificate.Files) *certificate.Source {
	t.Helper()
	s, err := certificate.Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
