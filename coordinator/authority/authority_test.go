package authority_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/authority"
)

func public(t testing.TB, seed byte) ed25519.PublicKey {
	t.Helper()
	key, ok := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	return key
}

// A certificate holds for its rank's name, key and authority, in both roles, and for nothing else.
func TestIssue(t *testing.T) {
	now := time.Now()
	secret := authority.NewSecret()
	a, err := authority.New(secret, 7, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := authority.New(secret, 7, now.Add(time.Minute)) // by another coordinator
	if err != nil {
		t.Fatal(err)
	}
	other, err := authority.New(authority.NewSecret(), 7, now)
	if err != nil {
		t.Fatal(err)
	}
	key := public(t, 1)
	der, err := a.Issue(3, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(c.PublicKey) || c.IsCA {
		t.Errorf("the certificate is for the key %v; an authority: %v", c.PublicKey, c.IsCA)
	}
	verify := func(a *authority.Authority, name string, use x509.ExtKeyUsage, at time.Time) error {
		root, err := x509.ParseCertificate(a.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(root)
		_, err = c.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: at})
		return err
	}
	for _, test := range []struct {
		what string
		err  error
		want string
	}{
		{"server", verify(a, a.Name(3), x509.ExtKeyUsageServerAuth, now), ""},
		{"client", verify(a, a.Name(3), x509.ExtKeyUsageClientAuth, now), ""},
		{"the same authority of another process", verify(again, again.Name(3), x509.ExtKeyUsageServerAuth, now), ""},
		{"a clock behind", verify(a, a.Name(3), x509.ExtKeyUsageClientAuth, now.Add(-23*time.Hour)), ""},
		{"a year and a day later", verify(a, a.Name(3), x509.ExtKeyUsageClientAuth, now.Add(367*24*time.Hour)), "expired"},
		{"another rank", verify(a, a.Name(2), x509.ExtKeyUsageServerAuth, now), "valid for"},
		{"another authority", verify(other, a.Name(3), x509.ExtKeyUsageServerAuth, now), "unknown authority"},
		{"another use", verify(a, a.Name(3), x509.ExtKeyUsageCodeSigning, now), "incompatible key usage"},
	} {
		if (test.err == nil) != (test.want == "") || test.err != nil && !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.what, test.err, test.want)
		}
	}
	if next, err := authority.New(secret, 8, now); err != nil || next.Password() == a.Password() || next.Name(3) == a.Name(3) ||
		verify(next, a.Name(3), x509.ExtKeyUsageServerAuth, now) == nil {
		t.Errorf("the next generation's authority, error %v", err)
	}
	if a.Password() != again.Password() {
		t.Error("two passwords of one authority")
	}
	if _, err := authority.New(secret[:16], 7, now); err == nil || !strings.Contains(err.Error(), "16 bytes") {
		t.Errorf("a short secret: error %v", err)
	}
	if a.Password() == other.Password() || a.Name(3) == other.Name(3) || a.Name(3) == a.Name(4) {
		t.Error("two authorities share a password, or two ranks a name")
	}
	if _, err := a.Issue(0, key[:31]); err == nil || !strings.Contains(err.Error(), "31 bytes") {
		t.Errorf("a key of 31 bytes: error %v", err)
	}
}

func Example() {
	a, err := authority.New(authority.NewSecret(), 4, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	der, err := a.Issue(2, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := x509.ParseCertificate(der)
	fmt.Println(c.DNSNames[0] == a.Name(2), err)
	// Output: true <nil>
}
