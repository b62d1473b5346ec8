package meshlink_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"pupil/allreduce/meshlink"
)

// witnesses joins three ranks, the others reaching rank 1 at an address, and returns what ranks 0 and 2 hear of ranks that are gone.
func witnesses(t *testing.T, servers []*meshlink.Server, address string) (heard [3]chan int, links []*meshlink.Link) {
	t.Helper()
	configs := issue(t, servers, 3, time.Minute)
	peers := append([]meshlink.Peer(nil), configs[0].Peers...)
	peers[1].Address = address
	for rank := range configs {
		heard[rank] = make(chan int, 10)
		configs[rank].Peers, configs[rank].Gone = peers, func(gone int) { heard[rank] <- gone }
	}
	links, errs := join(t, servers, configs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return heard, links
}

// The others hear at once, and once, of a rank whose server is there no more: also from behind a proxy, which takes connections still.
func TestGone(t *testing.T) {
	for what, at := range map[string]func(*meshlink.Server) string{
		"straight": (*meshlink.Server).Addr,
		"proxy":    func(s *meshlink.Server) string { return newProxy(t, s).listener.Addr().String() },
	} {
		servers := []*meshlink.Server{listen(t), listen(t), listen(t)}
		heard, links := witnesses(t, servers, at(servers[1]))
		if err := servers[1].Close(); err != nil {
			t.Fatal(err)
		}
		for _, rank := range []int{0, 2} {
			if gone := <-heard[rank]; gone != 1 {
				t.Errorf("%s: rank %d hears that rank %d is gone", what, rank, gone)
			}
		}
		for rank, l := range links {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if n := len(heard[rank]); n > 0 {
				t.Errorf("%s: rank %d hears of %d more", what, rank, n)
			}
		}
	}
}

// Nobody is gone whose connections break, and who takes new ones.
func TestNotGone(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t), listen(t)}
	p := newProxy(t, servers[1])
	heard, links := witnesses(t, servers, p.listener.Addr().String())
	message := []byte("message")
	for range 3 {
		p.cut()
		for _, rank := range []int{0, 2} {
			for links[rank].Send(1, message) != nil { // until the connection is there again
				runtime.Gosched()
			}
		}
	}
	for rank, l := range links {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if n := len(heard[rank]); n > 0 {
			t.Errorf("rank %d hears of %d that are gone", rank, n)
		}
	}
}

// Who was told of a generation first waits at the others' doors, and comes in without another try.
func TestDoor(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t)}
	servers[1].WaitAtDoor(time.Hour)
	p := newProxy(t, servers[1])
	configs := issue(t, servers, 3, time.Minute)
	peers := append([]meshlink.Peer(nil), configs[0].Peers...)
	peers[1].Address = p.listener.Addr().String()
	done := make(chan error)
	var first *meshlink.Link
	go func() {
		c := configs[0]
		c.Peers = peers
		var err error
		first, err = meshlink.New(t.Context(), servers[0], c)
		done <- err
	}()
	for p.came.Load() == 0 {
		runtime.Gosched()
	}
	second, err := meshlink.New(t.Context(), servers[1], configs[1])
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if n := p.came.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	for _, l := range []*meshlink.Link{first, second} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
