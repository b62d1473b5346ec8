package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// through is a proxy, and both ends of a connection over it.
func through(t *testing.T, raw bool) (p *proxy, here, there net.Conn) {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p, err = newProxy(t.Context(), target.Addr().String(), 1, raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if here, err = net.Dial("tcp", p.address()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	if there, err = target.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	return p, here, there
}

// TestProxy: what is sent while nothing passes is not lost, it comes when the way is free again; the end closes all.
func TestProxy(t *testing.T) {
	p, here, there := through(t, false)
	pass := func(word string) {
		t.Helper()
		if _, err := io.WriteString(here, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(there, got); err != nil || string(got) != word {
			t.Fatalf("%q came, %v; want %q", got, err, word)
		}
	}
	set := func(c condition) {
		t.Helper()
		if err := p.set(c); err != nil {
			t.Fatal(err)
		}
	}
	pass("PING\r\n")
	set(condition{slow: true})
	pass("PUB a 4\r\nslow\r\n")
	set(condition{cut: true})
	if _, err := io.WriteString(here, "PUB a 7\r\ncut off\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := there.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := there.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("something passed a cut connection")
	}
	if err := there.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	set(condition{})
	got := make([]byte, len("PUB a 7\r\ncut off\r\n"))
	if _, err := io.ReadFull(there, got); err != nil || string(got) != "PUB a 7\r\ncut off\r\n" {
		t.Errorf("after the cut %q came, %v", got, err)
	}
	p.close()
	if _, err := there.Read(got); err == nil {
		t.Error("the connection outlives the proxy")
	}
}

// TestLossyProxy sends messages of the real protocol over a link that loses some: whole messages are lost and no other word,
// both ways, and about as many as it should.
func TestLossyProxy(t *testing.T) {
	p, here, there := through(t, false)
	if err := p.set(condition{lose: true}); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	for _, way := range []struct {
		name, form string
		from, to   net.Conn
	}{{"up", "HPUB s r 2 %d\r\n%s\r\n", here, there}, {"down", "MSG s 1 %d\r\n%s\r\n", there, here}} {
		sent := make(chan error, 1)
		go func() {
			var err error
			for i := range n {
				text := fmt.Sprintf("%d\r\nPING", i) // a payload may have lines of its own
				if _, e := fmt.Fprintf(way.from, way.form+"PING\r\n", len(text), text); e != nil {
					err = e
				}
			}
			_, e := io.WriteString(way.from, "+OK\r\n")
			sent <- errors.Join(err, e)
		}()
		r := bufio.NewReader(way.to)
		messages, pings := 0, 0
		for done := false; !done; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
			size, message := tail([]byte(line))
			switch {
			case message:
				messages++
				payload := make([]byte, size)
				if _, err := io.ReadFull(r, payload); err != nil || !strings.HasSuffix(string(payload), "PING\r\n") {
					t.Fatalf("%s: payload %q, %v", way.name, payload, err)
				}
			case line == "PING\r\n":
				pings++
			case line == "+OK\r\n":
				done = true
			default:
				t.Fatalf("%s: %q", way.name, line)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if pings != n || messages < n*9/10 || messages > n*98/100 {
			t.Errorf("%s: %d of %d messages came, and %d words of the connection", way.name, messages, n, pings)
		}
	}
}

// TestUnadvertised: a server's word of other ways to it does not pass, all else does.
func TestUnadvertised(t *testing.T) {
	got := string(unadvertised([]byte(`INFO {"server_id":"A","connect_urls":["10.0.0.1:4222"],"max_payload":8} ` + "\r\n")))
	if got != `INFO {"max_payload":8,"server_id":"A"}`+"\r\n" {
		t.Errorf("%q", got)
	}
	for _, line := range []string{"MSG INFO 1 3\r\n", "INFO \r\n", "PING\r\n"} {
		if got := string(unadvertised([]byte(line))); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

// TestRawProxy: what is encrypted passes at once, without the end of a line, and is counted as a connection.
func TestRawProxy(t *testing.T) {
	p, here, there := through(t, true)
	if err := p.set(condition{lose: true}); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := here.Write([]byte{0x17, 3, 3}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(there, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.open.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestTail(t *testing.T) {
	for line, want := range map[string]int{
		"PUB a 5\r\n": 7, "pub a r 0\r\n": 2, "HPUB a 12 20\r\n": 22, "MSG a 1 3\r\n": 5, "HMSG a 1 r 12 20\r\n": 22,
		"PING\r\n": -1, "SUB a 1\r\n": -1, "UNSUB 1 5\r\n": -1, "INFO {} 5\r\n": -1, "PUB a -4\r\n": -1, "PUB a x\r\n": -1, "": -1,
	} {
		if size, message := tail([]byte(line)); message != (want >= 0) || message && size != want {
			t.Errorf("%q: %d, %v; want %d", line, size, message, want)
		}
	}
}
