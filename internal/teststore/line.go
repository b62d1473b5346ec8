package teststore

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Line is a network between clients and a Server, which a test can cut.
type Line struct {
	server *Server
	to     string // the server's address
	listen net.Listener

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

// Between returns a line to a server. It ends with the test.
func Between(t testing.TB, s *Server) *Line {
	t.Helper()
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{server: s, to: u.Host, conns: map[net.Conn]bool{}}
	if l.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.all.Go(l.serve)
	t.Cleanup(func() {
		l.listen.Close()
		l.Cut()
		l.all.Wait()
	})
	return l
}

// URL is Server.URL through the line.
func (l *Line) URL(t testing.TB, prefix string) string {
	t.Helper()
	u, err := url.Parse(l.server.URL(t, prefix))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = url.Values{"endpoint": {"http://" + l.listen.Addr().String()}}.Encode()
	return u.String()
}

// Cut breaks all connections, and each new one, until Mend.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		c.Close()
	}
}

// Mend lets connections through again.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *Line) serve() {
	for {
		client, err := l.listen.Accept()
		if err != nil {
			return
		}
		l.all.Go(func() { l.carry(client) })
	}
}

// keep remembers a connection, or closes it when the line is cut.
func (l *Line) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Line) carry(client net.Conn) {
	if !l.keep(client) {
		return
	}
	server, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(server) {
		client.Close()
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // a connection that ends is all that can happen
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, client)
	delete(l.conns, server)
}
