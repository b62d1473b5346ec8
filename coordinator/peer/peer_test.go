package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/peer"
	"pupil/coordinator/peer/peertest"
	"pupil/internal/certificate"
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
			go func() {
				_, _ = io.WriteString(c, name)
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
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
	for name, config := range map[string]*certificate.Source{"plain": nil, "TLS": certificates(t, "127.0.0.1")} {
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
func certificates(t *testing.T, host string) *certificate.Source {
	t.Helper()
	return peertest.Open(t, peertest.Certificates(t, host))
}

// TestReplay: the words of a handshake that was listened to open nothing later.
func TestReplay(t *testing.T) {
	p := listen(t, peer.Config{Token: "a"})
	echo(t, p.Service(peer.Raft), "raft")
	middle, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer middle.Close()
	heard := make(chan []byte, 1)
	go func() { // one who stands between
		c, err := middle.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		to, err := net.Dial("tcp", p.Address())
		if err != nil {
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(c, to) }()
		var words bytes.Buffer
		_, _ = io.Copy(io.MultiWriter(to, &words), c)
		_ = to.(*net.TCPConn).CloseWrite()
		heard <- words.Bytes()
	}()
	from := listen(t, peer.Config{Token: "a"})
	c, err := from.Service(peer.Raft).Dial(t.Context(), middle.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	words := <-heard
	_ = c.Close()
	again, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Write(words); err != nil {
		t.Fatal(err)
	}
	_ = again.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(again)
	if len(words) != 21+32 || len(all) != 48 || bytes.Contains(all, []byte("raft")) {
		t.Errorf("%d words were answered by %q", len(words), all)
	}
}

// TestRotation: connections go on while certificates are exchanged; new ones use what the files hold then.
func TestRotation(t *testing.T) {
	f := peertest.Certificates(t, "127.0.0.1")
	a := listen(t, peer.Config{Token: "s", TLS: peertest.Open(t, f)})
	b := listen(t, peer.Config{Token: "s", TLS: peertest.Open(t, f)})
	echo(t, b.Service(peer.Raft), "raft")
	open, err := a.Service(peer.Raft).Dial(t.Context(), b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	fresh := peertest.Authority(t) // a bundle of both, then a certificate of the new one
	pair, err := fresh.Pair()
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(f.Authority)
	if err != nil {
		t.Fatal(err)
	}
	for _, authorities := range [][]byte{slices.Concat(old, pair.Certificate), pair.Certificate} {
		if err := os.WriteFile(f.Authority, authorities, 0o600); err != nil {
			t.Fatal(err)
		}
		peertest.Issue(t, fresh, f, "127.0.0.1", time.Now())
		if got := talk(t, a.Service(peer.Raft), b.Address()); got != "raft hello" {
			t.Errorf("got %q", got)
		}
	}
	if _, err := io.WriteString(open, "x"); err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 5); true {
		if _, err := io.ReadFull(open, got); err != nil || string(got) != "raftx" {
			t.Errorf("the connection of before: %q, error %v", got, err)
		}
	}
	peertest.Issue(t, fresh, f, "127.0.0.1", time.Now().Add(-2*certificate.HostLife))
	if _, err := a.Service(peer.Raft).Dial(t.Context(), b.Address()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired certificate: error %v", err)
	}
	// Half an exchange: the pair before stays.
	peertest.Issue(t, fresh, f, "127.0.0.1", time.Now())
	if got := talk(t, a.Service(peer.Raft), b.Address()); got != "raft hello" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(f.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := talk(t, a.Service(peer.Raft), b.Address()); got != "raft hello" {
		t.Errorf("got %q", got)
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
