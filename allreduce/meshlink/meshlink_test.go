package meshlink_test

import (
	"testing"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/meshlink"
	"pupil/coordinator/authority"
)

func listen(t testing.TB) *meshlink.Server {
	t.Helper()
	return listenAs(t, meshlink.ServerConfig{Listen: "127.0.0.1:0"})
}

func listenAs(t testing.TB, c meshlink.ServerConfig) *meshlink.Server {
	t.Helper()
	s, err := meshlink.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// issue makes the configurations of all ranks, as a coordinator does.
func issue(t testing.TB, servers []*meshlink.Server, generation uint64, timeout time.Duration) []meshlink.Config {
	t.Helper()
	a, err := authority.New(authority.NewSecret(), generation, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var peers []meshlink.Peer
	for rank, s := range servers {
		peers = append(peers, meshlink.Peer{Address: s.Addr(), Name: a.Name(rank)})
	}
	configs := make([]meshlink.Config, len(servers))
	for rank, s := range servers {
		configs[rank] = meshlink.Config{
			Prefix: "pupil.ring.test", Generation: generation, Rank: rank, Peers: peers, Password: a.Password(), Timeout: timeout,
		}
		if s.PublicKey() == nil { // plain
			continue
		}
		certificate, err := a.Issue(rank, s.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		configs[rank].Authority, configs[rank].Certificate = a.Certificate(), certificate
	}
	return configs
}

// join opens all links at the same time.
func join(t testing.TB, servers []*meshlink.Server, configs []meshlink.Config) ([]*meshlink.Link, []error) {
	t.Helper()
	links, errs := make([]*meshlink.Link, len(configs)), make([]error, len(configs))
	done := make(chan int)
	for rank := range configs {
		go func() {
			links[rank], errs[rank] = meshlink.New(t.Context(), servers[rank], configs[rank])
			done <- rank
		}()
	}
	for range configs {
		rank := <-done
		if l := links[rank]; l != nil {
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	return links, errs
}

// open connects ranks that have a server each.
func open(t testing.TB, size int) []allreduce.Link {
	links, _ := openWith(t, size, time.Minute)
	return links
}

// openPlain is open without TLS.
func openPlain(t testing.TB, size int) []allreduce.Link {
	t.Helper()
	var servers []*meshlink.Server
	for range size {
		servers = append(servers, listenAs(t, meshlink.ServerConfig{Listen: "127.0.0.1:0", Plain: true}))
	}
	return openOn(t, servers, time.Minute)
}

func openWith(t testing.TB, size int, timeout time.Duration) ([]allreduce.Link, []*meshlink.Server) {
	t.Helper()
	var servers []*meshlink.Server
	for range size {
		servers = append(servers, listen(t))
	}
	return openOn(t, servers, timeout), servers
}

func openOn(t testing.TB, servers []*meshlink.Server, timeout time.Duration) []allreduce.Link {
	t.Helper()
	joined, errs := join(t, servers, issue(t, servers, 3, timeout))
	links := make([]allreduce.Link, len(servers))
	for rank, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		links[rank] = joined[rank]
	}
	return links
}

func TestLink(t *testing.T) { linktest.Run(t, open) }

func TestPlainLink(t *testing.T) { linktest.Run(t, openPlain) }
