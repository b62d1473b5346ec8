package meshlink_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/meshlink"
)

const (
	short = 300 * time.Millisecond // for what must fail
	never = time.Hour              // for what must not be needed
)

func contains(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %v lacks %q", what, err, w)
		}
	}
}

// What was issued for somebody else is refused at once, by the worker that has it.
func TestForeignCredentials(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t)}
	good, other := issue(t, servers, 3, never), issue(t, servers, 3, never)
	for _, test := range []struct {
		what   string
		change func(*meshlink.Config)
		want   string
		is     error
	}{
		{"authority", func(c *meshlink.Config) { c.Authority = other[0].Authority }, "unknown authority", meshlink.ErrCredentials},
		{
			"key", func(c *meshlink.Config) {
				c.Certificate = good[1].Certificate
				c.Peers = []meshlink.Peer{c.Peers[1], c.Peers[0]}
			},
			"for another key", meshlink.ErrCredentials,
		},
		{"name", func(c *meshlink.Config) { c.Certificate = good[1].Certificate }, "valid for", meshlink.ErrCredentials},
		{"no certificate", func(c *meshlink.Config) { c.Certificate = []byte("x") }, "rank 0's certificate", meshlink.ErrCredentials},
		{"no authority", func(c *meshlink.Config) { c.Authority = nil }, "authority's certificate", meshlink.ErrCredentials},
		{"password", func(c *meshlink.Config) { c.Password = "" }, "password is missing", nil},
		{"rank", func(c *meshlink.Config) { c.Rank = 2 }, "rank is 2; of 2 ranks", nil},
		{"timeout", func(c *meshlink.Config) { c.Timeout = -1 }, "timeout is -1ns", nil},
		{"prefix", func(c *meshlink.Config) { c.Prefix = "a.*" }, `prefix is "a.*"`, nil},
		{"address", func(c *meshlink.Config) { c.Peers = []meshlink.Peer{c.Peers[0], {"0.0.0.0:1", "x"}} }, "names no machine", nil},
		{"port", func(c *meshlink.Config) { c.Peers = []meshlink.Peer{c.Peers[0], {"host:0", "x"}} }, "1 to 65535", nil},
		{"twice", func(c *meshlink.Config) { c.Peers = []meshlink.Peer{c.Peers[0], c.Peers[0]} }, "another rank's", nil},
	} {
		c := good[0]
		test.change(&c)
		_, err := meshlink.New(t.Context(), servers[0], c)
		contains(t, test.what, err, test.want)
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v is not %v", test.what, err, test.is)
		}
	}
}

// Ranks of two authorities, or with two passwords, do not come together, and each says with whom.
func TestWrongCredentials(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t), listen(t)}
	for what, change := range map[string]func(mine, other *meshlink.Config){
		"password": func(mine, _ *meshlink.Config) { mine.Password = "guess" },
		"authority": func(mine, other *meshlink.Config) {
			mine.Authority, mine.Certificate = other.Authority, other.Certificate
		},
	} {
		configs, foreign := issue(t, servers, 3, 2*short), issue(t, servers, 3, 2*short)
		names := []meshlink.Peer{configs[0].Peers[0], configs[1].Peers[1], foreign[2].Peers[2]}
		if what == "password" {
			names = configs[0].Peers
		}
		for rank := range configs {
			configs[rank].Peers = names
		}
		change(&configs[2], &foreign[2])
		_, errs := join(t, servers, configs)
		contains(t, what+", rank 0", errs[0], "not connected to all ranks after 600ms", "rank 2 at "+servers[2].Addr())
		contains(t, what+", rank 1", errs[1], "not connected to all ranks after 600ms", "rank 2 at "+servers[2].Addr())
		contains(t, what+", rank 2", errs[2], "rank 0 at "+servers[0].Addr(), "rank 1 at "+servers[1].Addr())
		for rank, err := range errs {
			if rank < 2 && strings.Contains(err.Error(), "rank 1 at") || rank == 1 && strings.Contains(err.Error(), "rank 0 at") {
				t.Errorf("%s: rank %d: %v", what, rank, err)
			}
		}
	}
}

// Who has no certificate is turned away, and who has one may do nothing but publish to the owner.
func TestPermissions(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t)}
	configs := issue(t, servers, 3, time.Minute)
	links, errs := join(t, servers, configs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect("nats://"+servers[0].Addr(), nats.UserInfo(configs[0].Peers[0].Name, configs[0].Password),
		nats.Timeout(short)); err == nil {
		t.Error("a connection without TLS was taken")
	}
	if _, err := nats.Connect("nats://"+servers[0].Addr(), nats.Secure(&tls.Config{
		InsecureSkipVerify: true, ServerName: configs[0].Peers[0].Name,
	}), nats.TLSHandshakeFirst(), nats.UserInfo(configs[0].Peers[0].Name, configs[0].Password)); err == nil {
		t.Error("a client without a certificate was taken")
	}
	nc, refused := meshlink.Connect(t, servers[1], configs[1], 0)
	if _, err := nc.SubscribeSync(configs[0].Prefix + ".3.0"); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"pupil.ring.test.3.1", "pupil.ring.test.2.0", "pupil.ring.test.3.0", "x"} {
		if err := nc.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("refused with %v", err)
		}
	}
	if got, err := links[0].Receive(t.Context()); err != nil || string(got) != "pupil.ring.test.3.0" {
		t.Errorf("received %q, error %v", got, err)
	}
}

// Without TLS a worker is found on loopback alone, and a password and permissions keep others out.
func TestPlain(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "10.0.0.1:0", ":0", "localhost:0"} {
		_, err := meshlink.Listen(meshlink.ServerConfig{Listen: address, Plain: true})
		contains(t, address, err, address, "without TLS it must be a loopback address")
	}
	plain := meshlink.ServerConfig{Listen: "127.0.0.1:0", Plain: true}
	servers := []*meshlink.Server{listenAs(t, plain), listenAs(t, plain)}
	for what, test := range map[string]struct {
		change func(*meshlink.Config)
		want   string
	}{
		"certificates": {func(c *meshlink.Config) { c.Authority = []byte("x") }, "certificates were issued"},
		"elsewhere": {
			func(c *meshlink.Config) { c.Peers = []meshlink.Peer{c.Peers[0], {"10.0.0.1:1", "x"}} },
			"rank 1 at 10.0.0.1:1: without TLS",
		},
	} {
		c := issue(t, servers, 3, never)[0]
		test.change(&c)
		_, err := meshlink.New(t.Context(), servers[0], c)
		contains(t, what, err, test.want)
	}
	configs := issue(t, servers, 3, 4*short)
	configs[1].Password = "guess"
	_, errs := join(t, servers, configs)
	contains(t, "password", errs[0], "rank 1 at "+servers[1].Addr(), "Authorization Violation", "another password")

	configs = issue(t, servers, 4, time.Minute)
	links, errs := join(t, servers, configs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 4)
	nc, err := nats.Connect("nats://"+servers[0].Addr(), nats.UserInfo(configs[0].Peers[0].Name, configs[0].Password),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.SubscribeSync(configs[0].Prefix + ".4.0"); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"pupil.ring.test.4.1", "pupil.ring.test.4.0"} {
		if err := nc.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("refused with %v", err)
		}
	}
	if got, err := links[0].Receive(t.Context()); err != nil || string(got) != "pupil.ring.test.4.0" {
		t.Errorf("received %q, error %v", got, err)
	}
}

func TestListenRefused(t *testing.T) {
	taken := listen(t)
	for address, want := range map[string]string{
		taken.Addr(): "address already in use", "nowhere": "is not HOST:PORT", "127.0.0.1:70000": "is not HOST:PORT",
	} {
		s, err := meshlink.Listen(meshlink.ServerConfig{Listen: address})
		contains(t, address, err, want, address)
		if err == nil {
			_ = s.Close()
		}
	}
}

// The limits are those of the worker's server, and a ring that exceeds them is refused with the numbers.
func TestLimits(t *testing.T) {
	small := meshlink.ServerConfig{Listen: "127.0.0.1:0", MaxPayload: 100_000, MaxPending: 10_000_000}
	servers := []*meshlink.Server{listenAs(t, small), listenAs(t, small)}
	l := openOn(t, servers, time.Minute)[0]
	if want := (allreduce.Limits{Message: 100_000, Pending: 5_000_000}); l.Limits() != want {
		t.Errorf("limits %+v; want %+v", l.Limits(), want)
	}
	_, err := allreduce.New(l, allreduce.Config{Size: 2})
	contains(t, "a ring", err, "messages of 524352; the link takes 100000", "16779264 bytes at a rank; the link holds 5000000")
}

// A worker that never comes is named; a cancelled context ends the waiting at once.
func TestAbsentPeer(t *testing.T) {
	servers := []*meshlink.Server{listen(t), listen(t)}
	_, err := meshlink.New(t.Context(), servers[0], issue(t, servers, 3, 4*short)[0])
	if !errors.Is(err, allreduce.ErrDeadline) {
		t.Errorf("%v is not ErrDeadline", err)
	}
	contains(t, "absent", err, "not connected to all ranks after 1.2s", "rank 1 at "+servers[1].Addr(), "has not opened")

	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, as a stopped process does, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := issue(t, servers, 4, never)[0]
	c.Peers = []meshlink.Peer{c.Peers[0], {silent.Addr().String(), c.Peers[1].Name}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("worker 7 has died")
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			defer conn.Close()
		}
		cancel(cause)
	}()
	if _, err := meshlink.New(ctx, servers[0], c); !errors.Is(err, cause) {
		t.Errorf("New returned %v after its context had ended", err)
	}
}

// The server of a rank goes away: that rank ends at once, and all others with it.
func TestServerGone(t *testing.T) {
	links, servers := openWith(t, 3, time.Minute)
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: time.Minute})
	errs := g.Each(func(rank int, r *allreduce.Ring) error {
		if rank == 1 {
			if err := servers[1].Close(); err != nil {
				t.Error(err)
			}
		}
		return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 100_000))
	})
	for rank, err := range errs {
		if rank == 1 && !errors.Is(err, allreduce.ErrLinkClosed) || rank != 1 && !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// A worker dies with its server: the others tell, within their deadline, which connection is lost.
func TestDeadPeer(t *testing.T) {
	links, servers := openWith(t, 3, time.Minute)
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: short}, 1)
	if err := servers[1].Close(); err != nil {
		t.Fatal(err)
	}
	for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
		return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 100_000))
	}) {
		if rank != 1 && !errors.Is(err, allreduce.ErrDeadline) && !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: %v", rank, err)
		}
		if rank == 0 {
			contains(t, "rank 0", err, "rank 1 at "+servers[1].Addr()) // the connection is lost, or broke in the middle of a message
		}
	}
}

// behind opens links that reach rank 1 through a proxy.
func behind(t *testing.T, size int, timeout time.Duration) ([]allreduce.Link, *proxy) {
	t.Helper()
	var servers []*meshlink.Server
	for range size {
		servers = append(servers, listen(t))
	}
	configs := issue(t, servers, 3, timeout)
	p := newProxy(t, servers[1])
	peers := append([]meshlink.Peer(nil), configs[0].Peers...)
	peers[1].Address = p.listener.Addr().String()
	for rank := range configs {
		configs[rank].Peers = peers
	}
	joined, errs := join(t, servers, configs)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	links := make([]allreduce.Link, size)
	for rank, l := range joined {
		links[rank] = l
	}
	return links, p
}

// Connections that break in the middle are opened anew: all sums are right.
func TestBrokenConnections(t *testing.T) {
	const size = 3
	links, p := behind(t, size, time.Minute)
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: time.Minute, ChunkBytes: 32 << 10})
	for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
		for step := range uint64(20) {
			if rank == 2 && step%5 == 2 {
				p.cut()
			}
			if err := linktest.Step(t.Context(), r, rank, size, step, []int{100_000, 5}); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// A rank stands still: all end within the deadline, though a Send to it is held up.
func TestStoppedPeer(t *testing.T) {
	links, p := behind(t, 3, never)
	g := linktest.Start(t, links, allreduce.Config{Generation: 3, Deadline: 2 * short, Window: 64}, 1)
	p.freeze()
	for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
		return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 16<<20))
	}) {
		if rank != 1 && !errors.Is(err, allreduce.ErrDeadline) && !errors.Is(err, allreduce.ErrAborted) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	g.Stop() // it would take 15 minutes if the Send were not interrupted
}

// After everything is closed nothing is left: no goroutine, no listener.
func TestReleased(t *testing.T) {
	before := goroutines()
	servers := []*meshlink.Server{listen(t), listen(t), listen(t)}
	for generation := range uint64(2) { // one after the other on the same servers
		joined, errs := join(t, servers, issue(t, servers, generation, time.Minute))
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		links := make([]allreduce.Link, len(joined))
		for rank, l := range joined {
			links[rank] = l
		}
		g := linktest.Start(t, links, allreduce.Config{Generation: generation, Deadline: time.Minute})
		cause := errors.New("enough")
		g.Each(func(rank int, r *allreduce.Ring) error {
			if rank == 2 {
				r.Abort(cause)
			}
			return r.ReduceInt32(t.Context(), 0, 0, make([]int32, 1<<20))
		})
		g.Stop()
		for rank, l := range joined {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if s := g.Rings[rank].Stats(); s.Lent != 0 || s.Idle != 0 || s.Held != 0 {
				t.Errorf("rank %d: %+v", rank, s)
			}
		}
	}
	for _, s := range servers {
		address := s.Addr()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("the port is still in use: %v", err)
			continue
		}
		_ = l.Close()
	}
	for begin := time.Now(); goroutines() > before; runtime.Gosched() {
		if time.Since(begin) > time.Minute {
			stacks := make([]byte, 1<<20)
			t.Fatalf("goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// goroutines counts those of links, and of NATS servers and clients.
func goroutines() int {
	stacks := make([]byte, 4<<20)
	text := string(stacks[:runtime.Stack(stacks, true)])
	return strings.Count(text, "nats.(*Conn)") + strings.Count(text, "server.(*Server)") + strings.Count(text, "meshlink.(*")
}
