package serve_test

import (
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/peer"
	"pupil/coordinator/peer/peertest"
	"pupil/coordinator/raftlog"
	"pupil/internal/certificate"
)

// tlsCluster forms a cluster with certificates on all ports.
func tlsCluster(t *testing.T, files certificate.Files) (*cluster3, []string, control.Credentials) {
	t.Helper()
	both := peertest.Open(t, files)
	c := &cluster3{t: t, tls: both}
	users := control.NewCredentials()
	var err error
	if c.broker, err = control.StartBroker(control.BrokerOptions{Credentials: &users, TLS: both}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.broker.Close)
	if c.link, err = control.NewRemote(c.broker.URL(), users, both); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		n := &coordinator{config: c.config(fmt.Sprintf("c%d", i))}
		n.config.TLS = both
		c.nodes = append(c.nodes, n)
		c.peers = append(c.peers, raftlog.Peer{ID: n.config.ID, Address: n.config.Raft})
	}
	var addresses []string
	for _, n := range c.nodes {
		n.config.Peers = c.peers
		c.up(n)
		addresses = append(addresses, "https://"+n.config.Listen)
	}
	return c, addresses, users
}

func dialAPI(t *testing.T, source *certificate.Source, patience time.Duration, addresses ...string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.Config{Addresses: addresses, Token: token, TLS: source, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestTLS: all ports of a cluster take those who show what is asked of them, and nobody else.
func TestTLS(t *testing.T) {
	t.Parallel()
	files := peertest.Certificates(t, "127.0.0.1")
	c, addresses, users := tlsCluster(t, files)
	bare := peertest.Open(t, certificate.Files{Authority: files.Authority}) // commands need no certificate
	for _, a := range addresses {
		if m, err := dialAPI(t, bare, time.Minute, a).Members(t.Context()); err != nil || len(m) != 3 {
			t.Errorf("members %+v, error %v", m, err)
		}
	}
	c.client = dialAPI(t, c.tls, time.Minute, addresses...)
	if !strings.HasPrefix(c.link.URL(), "tls://") {
		t.Errorf("the broker is at %s", c.link.URL())
	}
	c.work("w0", trainer{})
	c.until("a worker", func(s *api.Status) bool { return len(s.Workers) == 1 })

	others := peertest.Open(t, peertest.Certificates(t, "127.0.0.1"))
	for name, source := range map[string]*certificate.Source{"no authority": nil, "another authority": others} {
		if _, err := dialAPI(t, source, time.Nanosecond, addresses...).Members(t.Context()); err == nil ||
			!strings.Contains(err.Error(), "certificate") {
			t.Errorf("HTTP with %s: error %v", name, err)
		}
	}
	for name, source := range map[string]*certificate.Source{"no certificate": bare, "another authority": others} {
		if nc, err := connect(c.link.URL(), users, source); err == nil { // which may say no more than that the other side has hung up
			nc.Close()
			t.Errorf("NATS with %s: error %v", name, err)
		}
	}
}

// connect connects to a broker as a coordinator does.
func connect(url string, users control.Credentials, s *certificate.Source) (*nats.Conn, error) {
	return nats.Connect(url, nats.Secure(s.Client()), nats.UserInfo("coordinator", users.Coordinator))
}

// TestRotation exchanges authority and certificates of a cluster that runs: nobody notices, and new connections use them.
func TestRotation(t *testing.T) {
	t.Parallel()
	files := peertest.Certificates(t, "127.0.0.1")
	c, addresses, users := tlsCluster(t, files)
	c.client = dialAPI(t, c.tls, time.Minute, addresses...)
	step := make(chan struct{})
	c.work("w0", trainer{steps: 4, hold: func(_, n int) {
		if n < 4 {
			<-step
		}
	}})
	if _, err := c.client.Submit(t.Context(), c.submission("a")); err != nil {
		t.Fatal(err)
	}
	at := func(n int) {
		t.Helper()
		s := c.until("a step", func(s *api.Status) bool { return s.Runs[0].Step >= n })
		if len(s.Workers) != 1 || s.Runs[0].Generation != 1 {
			t.Errorf("at step %d: %+v", n, s)
		}
	}
	at(1)
	old, err := os.ReadFile(files.Authority)
	if err != nil {
		t.Fatal(err)
	}
	next := peertest.Authority(t)
	pair, err := next.Pair()
	if err != nil {
		t.Fatal(err)
	}
	for i, authorities := range [][]byte{append(old, pair.Certificate...), pair.Certificate} {
		if err := os.WriteFile(files.Authority+".new", authorities, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(files.Authority+".new", files.Authority); err != nil {
			t.Fatal(err)
		}
		peertest.Issue(t, next, files, "127.0.0.1", time.Now())
		step <- struct{}{}
		at(i + 2)
		fresh := dialAPI(t, peertest.Open(t, files), time.Minute, addresses...)
		if m, err := fresh.Members(t.Context()); err != nil || len(m) != 3 {
			t.Errorf("members %+v, error %v", m, err)
		}
		nc, err := connect(c.link.URL(), users, peertest.Open(t, files))
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	// One that has expired is refused by those who connect.
	peertest.Issue(t, next, files, "127.0.0.1", time.Now().Add(-2*certificate.HostLife))
	if _, err := dialAPI(t, c.tls, time.Nanosecond, addresses...).Members(t.Context()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("HTTP with an expired certificate: error %v", err)
	}
	if nc, err := connect(c.link.URL(), users, c.tls); err == nil || !strings.Contains(err.Error(), "expired") {
		nc.Close()
		t.Errorf("NATS with an expired certificate: error %v", err)
	}
	peertest.Issue(t, next, files, "127.0.0.1", time.Now())
	step <- struct{}{}
	c.until("the end", func(s *api.Status) bool { return s.Runs[0].Phase.Over() })
}

// TestRevoked: who shows a certificate that the authority has revoked is refused at every port, and by those who connect to it.
func TestRevoked(t *testing.T) {
	t.Parallel()
	files := peertest.Certificates(t, "127.0.0.1")
	a := peertest.Authority(t)
	pair, err := a.Pair()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(bundle []byte) {
		t.Helper()
		if err := os.WriteFile(files.Authority+".new", bundle, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(files.Authority+".new", files.Authority); err != nil {
			t.Fatal(err)
		}
	}
	replace(pair.Certificate)
	peertest.Issue(t, a, files, "127.0.0.1", time.Now())
	c, addresses, users := tlsCluster(t, files)
	c.client = dialAPI(t, c.tls, time.Minute, addresses...)

	dir := t.TempDir()
	spare := certificate.Files{Certificate: dir + "/cert.pem", Key: dir + "/key.pem", Authority: dir + "/ca.pem"} // whose list does not change
	if err := os.WriteFile(spare.Authority, pair.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Issue(t, a, spare, "127.0.0.1", time.Now())
	source := peertest.Open(t, spare)
	port, err := peer.Listen(peer.Config{Listen: "127.0.0.1:0", Token: token, TLS: source})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	tries := map[string]func() error{
		"the API": func() error {
			_, err := dialAPI(t, source, time.Nanosecond, addresses[0]).Members(t.Context())
			return err
		},
		"the broker": func() error {
			nc, err := connect(c.link.URL(), users, source)
			if err == nil {
				nc.Close()
			}
			return err
		},
		"a coordinator": func() error {
			conn, err := port.Service(peer.Web).Dial(t.Context(), c.nodes[0].config.Raft)
			if err == nil {
				conn.Close()
			}
			return err
		},
	}
	if _, err := dialAPI(t, c.tls, time.Minute, addresses[0]).Members(t.Context()); err != nil { // all have begun
		t.Fatal(err)
	}
	for name, try := range tries {
		if err := try(); err != nil {
			t.Fatalf("%s, before: %v", name, err)
		}
	}
	serial := func(f certificate.Files) *big.Int {
		t.Helper()
		data, err := os.ReadFile(f.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		all, err := certificate.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].SerialNumber
	}
	bundle, err := a.Revoke(pair.Certificate, []*big.Int{serial(spare)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	replace(bundle)
	for name, try := range tries {
		if err := try(); err == nil {
			t.Errorf("%s takes a certificate that is revoked", name)
		}
	}
	if m, err := dialAPI(t, peertest.Open(t, files), time.Minute, addresses...).Members(t.Context()); err != nil || len(m) != 3 {
		t.Errorf("members %+v, error %v", m, err)
	}

	// The other way round: the coordinators' is revoked, and they have not heard of it.
	if bundle, err = a.Revoke(pair.Certificate, []*big.Int{serial(files)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	replace(pair.Certificate)
	if err := os.WriteFile(spare.Authority+".new", bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(spare.Authority+".new", spare.Authority); err != nil {
		t.Fatal(err)
	}
	for name, try := range tries {
		if err := try(); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s, whose certificate is revoked: error %v", name, err)
		}
	}
}
