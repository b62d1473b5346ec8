package meshlink

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// talk is a client at one end, and what a server says, piece by piece, at the other.
func talk(t *testing.T, says ...string) (*client, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	go func() {
		for _, s := range says {
			if _, err := io.WriteString(there, s); err != nil {
				return
			}
		}
	}()
	return &client{conn: here, in: bufio.NewReaderSize(here, readBuffer), maxPayload: 10_000}, there
}

func fresh(n int) []byte { return make([]byte, n) }

// Messages come whole, however the bytes come in pieces, and pings are answered meanwhile.
func TestClientReads(t *testing.T) {
	long := strings.Repeat("0123456789", 900)
	whole := "INFO {}\r\nMSG a.b 1 9000\r\n" + long + "\r\nMSG a.b 1 0\r\n\r\n+OK\r\nPING\r\nMSG a.b 1 reply 3\r\nx\r\n\r\n"
	for _, size := range []int{1, 7, 4096, len(whole)} {
		var pieces []string
		for s := whole; s != ""; {
			n := min(size, len(s))
			pieces, s = append(pieces, s[:n]), s[n:]
		}
		c, there := talk(t, pieces...)
		answer := make(chan string, 1)
		go func() {
			b := make([]byte, 6)
			_, _ = io.ReadFull(there, b)
			answer <- string(b)
		}()
		for _, want := range []string{long, "", "x\r\n"} {
			got, err := c.next(fresh)
			if err != nil || string(got) != want {
				t.Fatalf("pieces of %d: message of %d bytes, error %v; want %d bytes", size, len(got), err, len(want))
			}
		}
		if got := <-answer; got != "PONG\r\n" {
			t.Errorf("a ping was answered with %q", got)
		}
	}
}

// What is not of the protocol ends the connection with an error, and takes no memory that was announced.
func TestClientRefuses(t *testing.T) {
	for says, want := range map[string]string{
		"MSG a 1 10001\r\n":           "announces no message that can be",
		"MSG a 1 -1\r\n":              "announces no message that can be",
		"MSG a 1 x\r\n":               "announces no message that can be",
		"MSG\r\n":                     "announces no message that can be",
		"MSG a 1 1\r\nxy\r\n":         "more than the 1 bytes",
		"-ERR 'Stale Connection'\r\n": "refuses: 'Stale Connection'",
		"HTTP/1.1 400 Bad\r\n":        "is not of NATS's protocol",
		strings.Repeat("x", 9000):     "buffer full",
	} {
		c, _ := talk(t, says)
		_, err := c.next(func(n int) []byte {
			if n > 1 {
				t.Errorf("%.20q: %d bytes were asked for", says, n)
			}
			return make([]byte, n)
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want %q", says, err, want)
		}
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() { _, _ = io.WriteString(there, "SSH-2.0\r\n") }()
	if _, err := greet(here, "u", "p", "n"); err == nil || !strings.Contains(err.Error(), "not what a NATS server says first") {
		t.Errorf("greeted with another protocol: %v", err)
	}
	c, _ := talk(t)
	if err := c.publish("a", make([]byte, 10_001)); !errors.Is(err, errTooLarge) {
		t.Errorf("a message that is too large: %v", err)
	}
}

// FuzzClient: no server's words make a client panic, or take more memory than a message may have.
func FuzzClient(f *testing.F) {
	f.Add([]byte("MSG a 1 3\r\nabc\r\nPING\r\n-ERR 'x'\r\n"))
	f.Add([]byte("INFO {\"max_payload\": 5}\r\n+OK\r\nMSG a 1 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, says []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		c := &client{conn: here, in: bufio.NewReaderSize(bytes.NewReader(says), readBuffer), maxPayload: 1000}
		for {
			m, err := c.next(fresh)
			if err != nil {
				return
			}
			if len(m) > 1000 {
				t.Fatalf("a message of %d bytes", len(m))
			}
		}
	})
}
