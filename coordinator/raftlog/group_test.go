package raftlog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/peer"
	"pupil/coordinator/raftlog"
)

// node is a coordinator's log, with a network that can be cut.
type node struct {
	peer    raftlog.Peer
	dir     string
	port    *peer.Port
	network *network
	log     *raftlog.Log // nil: it is down
}

// group are coordinators on this machine, over TCP.
type group struct {
	t     *testing.T
	nodes []*node
	peers []raftlog.Peer
}

func newGroup(t *testing.T, n int) *group {
	t.Helper()
	g := &group{t: t}
	for i := range n {
		g.node(fmt.Sprintf("c%d", i), "127.0.0.1:0")
	}
	for _, n := range g.nodes {
		g.peers = append(g.peers, n.peer)
	}
	for _, n := range g.nodes {
		g.up(n, g.peers)
	}
	return g
}

// node makes a node that is down.
func (g *group) node(id, listen string) *node {
	n := &node{peer: raftlog.Peer{ID: id}, dir: filepath.Join(g.t.TempDir(), id)}
	g.listen(n, listen)
	n.peer.Address = n.port.Address()
	g.nodes = append(g.nodes, n)
	g.t.Cleanup(func() { g.down(n) })
	return n
}

func (g *group) listen(n *node, listen string) {
	g.t.Helper()
	var err error
	if n.port, err = peer.Listen(peer.Config{Listen: listen, Token: "secret"}); err != nil {
		g.t.Fatal(err)
	}
	n.network = &network{Service: n.port.Service(peer.Raft), made: make(map[net.Conn]struct{})}
}

func (g *group) up(n *node, peers []raftlog.Peer) {
	g.t.Helper()
	if n.port == nil {
		g.listen(n, n.peer.Address)
	}
	var err error
	n.log, err = raftlog.Open(g.t.Context(), n.dir, raftlog.Options{Group: &raftlog.Group{
		ID: n.peer.ID, Stream: n.network, Peers: peers, Timeout: 200 * time.Millisecond,
	}})
	if err != nil {
		g.t.Fatal(err)
	}
}

// down ends a node without a goodbye to the others.
func (g *group) down(n *node) {
	if n.log != nil {
		if err := n.log.Close(); err != nil {
			g.t.Error(err)
		}
		n.log = nil
	}
	if n.port != nil {
		if err := n.port.Close(); err != nil {
			g.t.Error(err)
		}
		n.port = nil
	}
}

// leader waits until one of the nodes leads and knows all.
func (g *group) leader() (n *node, lost <-chan struct{}) {
	g.t.Helper()
	type led struct {
		n    *node
		lost <-chan struct{}
	}
	found := make(chan led)
	ctx, cancel := context.WithCancel(g.t.Context())
	var wg sync.WaitGroup
	for _, n := range g.nodes {
		if n.log == nil {
			continue
		}
		wg.Go(func() {
			if lost, err := n.log.AwaitLeadership(ctx); err == nil {
				select {
				case found <- led{n, lost}:
				case <-ctx.Done():
				}
			}
		})
	}
	f := <-found
	cancel()
	wg.Wait()
	return f.n, f.lost
}

// apply applies a command on the leader, whoever that is at the time. One that is applied twice by this is refused.
func (g *group) apply(c cluster.Command) {
	g.t.Helper()
	for {
		n, _ := g.leader()
		err := n.log.Apply(g.t.Context(), c)
		if err == nil {
			return
		}
		if !errors.Is(err, raftlog.ErrNotLeader) {
			g.t.Fatalf("%+v: %v", c, err)
		}
	}
}

// network can be cut.
type network struct {
	*peer.Service
	cut  atomic.Bool
	mu   sync.Mutex
	made map[net.Conn]struct{}
}

func (w *network) Accept() (net.Conn, error) {
	c, err := w.Service.Accept()
	return w.note(c, err)
}

func (w *network) Dial(ctx context.Context, to string) (net.Conn, error) {
	if w.cut.Load() {
		return nil, errors.New("the network is cut")
	}
	c, err := w.Service.Dial(ctx, to)
	return w.note(c, err)
}

func (w *network) note(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut.Load() {
		_ = c.Close()
	} else {
		w.made[c] = struct{}{}
	}
	return c, nil
}

// set cuts the network or mends it.
func (w *network) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut.Store(cut)
	for c := range w.made {
		_ = c.Close()
	}
	clear(w.made)
}

func TestGroup(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.apply(submit("a"))
	for i := range 10 {
		g.apply(join(i))
	}
	first, lost := g.leader()
	for _, n := range g.nodes {
		if n == first {
			continue
		}
		if err := n.log.Apply(t.Context(), join(77)); !errors.Is(err, raftlog.ErrNotLeader) {
			t.Errorf("apply on %s: error %v", n.peer.ID, err)
		}
		if p, ok := n.log.Leader(); ok && p.ID == n.peer.ID {
			t.Errorf("%s says that it leads", n.peer.ID)
		}
	}

	g.down(first)
	<-lost
	second, _ := g.leader()
	if n := len(second.log.State().Workers); n != 10 {
		t.Errorf("the new leader knows %d workers, want 10", n)
	}
	g.apply(join(10))
	g.up(first, g.peers)

	// All at once, at any moment.
	want := 11
	for round := range 3 {
		g.apply(join(want))
		want++
		for _, n := range g.nodes {
			g.down(n)
		}
		for _, n := range g.nodes {
			g.up(n, g.peers)
		}
		n, _ := g.leader()
		if s := n.log.State(); len(s.Workers) != want || s.Run("a") == nil {
			t.Fatalf("round %d: %d workers and runs %+v; want %d and a", round, len(s.Workers), s.Runs, want)
		}
	}
}

// TestPartition cuts the leader off: it gives up, and what it could not confirm is not there afterwards or was applied
// once.
func TestPartition(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	g.apply(submit("a"))
	old, lost := g.leader()
	if err := old.log.Verify(); err != nil {
		t.Error(err)
	}
	old.network.set(true)
	err := old.log.Apply(t.Context(), join(1))
	if !errors.Is(err, raftlog.ErrNotLeader) {
		t.Errorf("a leader without the others has applied a command: error %v", err)
	}
	if err := old.log.Verify(); !errors.Is(err, raftlog.ErrNotLeader) {
		t.Errorf("a leader without the others is sure of itself: error %v", err)
	}
	<-lost
	rest := &group{t: t}
	for _, n := range g.nodes {
		if n != old {
			rest.nodes = append(rest.nodes, n)
		}
	}
	rest.apply(join(2))
	old.network.set(false)
	g.apply(join(3))
	n, _ := g.leader()
	s := n.log.State()
	if s.Worker("w001") != nil || s.Worker("w002") == nil || s.Worker("w003") == nil {
		t.Errorf("workers %+v", s.Workers)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1)
	g.apply(submit("a"))
	for i := 1; i < 3; i++ {
		n := g.node(fmt.Sprintf("c%d", i), "127.0.0.1:0")
		g.up(n, nil) // waits to be added
		leader, _ := g.leader()
		for range 2 { // the second time changes nothing
			if err := leader.log.AddMember(t.Context(), n.peer); err != nil {
				t.Fatal(err)
			}
		}
	}
	leader, lost := g.leader()
	if m, err := leader.log.Members(); err != nil || len(m) != 3 || m[2] != g.nodes[2].peer {
		t.Errorf("members %+v, error %v", m, err)
	}
	for want, err := range map[string]error{
		"has the address": leader.log.AddMember(t.Context(), raftlog.Peer{ID: "other", Address: leader.peer.Address}),
		"only [c0 c1 c2]": leader.log.RemoveMember(t.Context(), "c7"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want one with %q", err, want)
		}
	}
	if err := leader.log.HandOver(); err != nil {
		t.Fatal(err)
	}
	<-lost
	g.apply(join(1))
	if err := leader.log.HandOver(); err != nil { // it has nothing to hand over, or can do it again
		t.Error(err)
	}

	// A leader takes itself out.
	leader, lost = g.leader()
	if err := leader.log.RemoveMember(t.Context(), leader.peer.ID); err != nil {
		t.Fatal(err)
	}
	<-lost
	g.apply(join(3))
	if leader.log.Leads() {
		t.Error("a coordinator that was taken out leads")
	}
	g.down(leader)
	g.apply(join(2))
	n, _ := g.leader()
	if m, err := n.log.Members(); err != nil || len(m) != 2 {
		t.Errorf("members %+v, error %v", m, err)
	}
	if s := n.log.State(); s.Run("a") == nil || len(s.Workers) != 3 {
		t.Errorf("state %+v", s)
	}
}

func TestGroupValidate(t *testing.T) {
	two := []raftlog.Peer{{ID: "a", Address: "h:1"}, {ID: "a", Address: "nowhere"}}
	err := (&raftlog.Group{Peers: two, Timeout: 1}).Validate()
	for _, want := range []string{"no id", "no way", "timeout", "1, 3 or 5", "twice", "id=host:port", "not among the peers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want one with %q", err, want)
		}
	}
	if _, err := raftlog.Open(t.Context(), t.TempDir(), raftlog.Options{Group: &raftlog.Group{}}); err == nil {
		t.Error("opened without an id")
	}
}

// TestSnapshotToNewMember adds a member after the log was replaced by a snapshot, which it gets from the leader.
func TestSnapshotToNewMember(t *testing.T) {
	t.Parallel()
	g := &group{t: t}
	first := g.node("c0", "127.0.0.1:0")
	var err error
	first.log, err = raftlog.Open(t.Context(), first.dir, raftlog.Options{
		SnapshotThreshold: 2, Group: &raftlog.Group{ID: "c0", Stream: first.network, Peers: []raftlog.Peer{first.peer}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		g.apply(join(i))
	}
	if err := first.log.Compact(); err != nil {
		t.Fatal(err)
	}
	g.down(first) // until then it would still have sent the log
	g.up(first, []raftlog.Peer{first.peer})
	g.leader()
	second := g.node("c1", "127.0.0.1:0")
	g.up(second, nil)
	if err := first.log.AddMember(t.Context(), second.peer); err != nil {
		t.Fatal(err)
	}
	g.apply(join(30))
	if err := first.log.HandOver(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.log.AwaitLeadership(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(second.log.State().Workers); n != 31 {
		t.Errorf("the new member has %d workers, want 31", n)
	}
	if snapshots, err := filepath.Glob(filepath.Join(second.dir, "snapshots", "*")); err != nil || len(snapshots) == 0 {
		t.Errorf("the new member has no snapshot: %q, error %v", snapshots, err)
	}
}
