package peer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/coordinator/peer"
	"pupil/coordinator/peer/peertest"
)

func listen(t *testing.T, c peer.Config) *peer.Port {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	p, err := peer.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// echo answers each connection of a service with what it says, behind the service's name.
func echo(t *testing.T, s *peer.Service, name string) {
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
}

func talk(t *testing.T, from *peer.Service, to string) string {
	t.Helper()
	c, err := from.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, " hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestServices(t *testing.T) {
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": certificates(t, "127.0.0.1")} {
		t.Run(name, func(t *testing.T) {
			a := listen(t, peer.Config{Token: "secret", TLS: config})
			b := listen(t, peer.Config{Token: "secret", TLS: config})
			echo(t, b.Service(peer.Raft), "raft")
			echo(t, b.Service(peer.Web), "web")
			for kind, want := range map[peer.Kind]string{peer.Raft: "raft hello", peer.Web: "web hello"} {
				if got := talk(t, a.Service(kind), b.Address()); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

// TestRefused: without the token, without a certificate of the authority, or with other words nobody gets through.
func TestRefused(t *testing.T) {
	ours, others := certificates(t, "127.0.0.1"), certificates(t, "127.0.0.1")
	named := certificates(t, "elsewhere.example")
	for name, c := range map[string]struct {
		listens, dials peer.Config
		want           string
	}{
		"token":        {peer.Config{Token: "a"}, peer.Config{Token: "b"}, "token"},
		"authority":    {peer.Config{Token: "a", TLS: ours}, peer.Config{Token: "a", TLS: others}, "unknown authority"},
		"plain to TLS": {peer.Config{Token: "a", TLS: ours}, peer.Config{Token: "a"}, "connect to the coordinator"},
		"TLS to plain": {peer.Config{Token: "a"}, peer.Config{Token: "a", TLS: ours}, "connect to the coordinator"},
		"another host": {peer.Config{Token: "a", TLS: named}, peer.Config{Token: "a", TLS: named}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			to, from := listen(t, c.listens), listen(t, c.dials)
			_, err := from.Service(peer.Raft).Dial(t.Context(), to.Address())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want one with %q", err, c.want)
			}
		})
	}
}

// TestStranger: what does not speak as a coordinator is closed, and never reaches a service.
func TestStranger(t *testing.T) {
	p := listen(t, peer.Config{Token: "a"})
	for _, words := range []string{
		"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "PUP1x0123456789abcdef",
		"PUP1r0123456789abcdef" + strings.Repeat("x", 32),
	} {
		c, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, words); err != nil {
			t.Fatal(err)
		}
		if all, _ := io.ReadAll(c); len(all) > 48 { // no more than the handshake's answer
			t.Errorf("%q was answered with %q", words, all)
		}
		_ = c.Close()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := p.Service(peer.Raft).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted %v, error %v", c, err)
	}
}

// TestClose ends a port while a handshake is under way.
func TestClose(t *testing.T) {
	p := listen(t, peer.Config{Token: "a"})
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PUP1r0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 48)); err != nil { // it waits for the proof now
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Listen(peer.Config{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("a port without a token was opened")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	q := listen(t, peer.Config{Token: "a"})
	if _, err := q.Service(peer.Raft).Dial(ctx, q.Address()); err == nil {
		t.Error("dialled with a context that is done")
	}
}

// certificates are those of a new authority for a host.
func certificates(t *testing.T, host string) *tls.Config {
	t.Helper()
	f := peertest.Certificates(t, host)
	config, err := peer.LoadTLS(f.Certificate, f.Key, f.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestLoadTLS(t *testing.T) {
	if c, err := peer.LoadTLS("", "", ""); c != nil || err != nil {
		t.Errorf("no files: %v, %v", c, err)
	}
	if _, err := peer.LoadTLS("cert.pem", "", ""); err == nil {
		t.Error("one file was enough")
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.LoadAuthority(empty); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("error %v", err)
	}
}

func Example() {
	port := func() *peer.Port {
		p, err := peer.Listen(peer.Config{Listen: "127.0.0.1:0", Token: "the cluster's token"})
		if err != nil {
			panic(err)
		}
		return p
	}
	a, b := port(), port()
	defer a.Close()
	defer b.Close()
	c, err := a.Service(peer.Web).Dial(context.Background(), b.Address())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	other, err := b.Service(peer.Web).Accept()
	if err != nil {
		panic(err)
	}
	defer other.Close()
	// Output:
}
