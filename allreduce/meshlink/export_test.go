package meshlink

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Connect opens a connection of a rank, with its credentials, to another's server, as its link does. What the server
// refuses comes over the channel.
func Connect(t *testing.T, s *Server, c Config, to int) (*nats.Conn, <-chan error) {
	t.Helper()
	config, err := c.tls(s.key)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = c.Peers[to].Name
	refused := make(chan error, 16)
	nc, err := nats.Connect("nats://"+c.Peers[to].Address, nats.UserInfo(c.Peers[to].Name, c.Password), nats.Secure(config),
		nats.TLSHandshakeFirst(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, refused
}

// WaitAtDoor lets who knocks too early wait for long. Nobody may have done so yet.
func (s *Server) WaitAtDoor(d time.Duration) { s.door = d }
