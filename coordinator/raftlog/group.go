package raftlog

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Group says how a log stands among those of other coordinators.
type Group struct {
	ID     string // of this coordinator, unique in the group; it never changes
	Stream Stream // to the others; the log closes it
	// Peers are the coordinators that a new group begins with, this one included; all of them are given the same. An
	// existing group keeps its members, but reaches those named here at these addresses. Without any, a new folder
	// waits until a member of a group adds this coordinator.
	Peers []Peer
	// Timeout is how long the leader may be silent before another one is chosen, within one to two of them. The
	// leader gives up as soon as it has not reached most of the others for so long. Default 500ms.
	Timeout time.Duration
}

// Peer is a coordinator.
type Peer struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port
}

// MaxPeers is the largest group. More nodes do not make it safer, only slower.
const MaxPeers = 5

const defaultTimeout = 500 * time.Millisecond

// Validate lists all that is wrong.
func (g *Group) Validate() error {
	var errs []error
	if g.ID == "" {
		errs = append(errs, errors.New("the coordinator has no id"))
	}
	if g.Stream == nil {
		errs = append(errs, errors.New("the coordinator has no way to others"))
	}
	if g.Timeout < 0 || g.Timeout > 0 && g.Timeout < 5*time.Millisecond {
		errs = append(errs, fmt.Errorf("the timeout of the coordinators is %s; it must be at least 5ms", g.Timeout))
	}
	if len(g.Peers) > 0 {
		errs = append(errs, CheckPeers(g.Peers))
		if !slices.ContainsFunc(g.Peers, func(p Peer) bool { return p.ID == g.ID }) {
			errs = append(errs, fmt.Errorf("the coordinator %s is not among the peers %s; give all coordinators the same list, "+
				"which names each of them", g.ID, ids(g.Peers)))
		}
	}
	return errors.Join(errs...)
}

// CheckPeers says what is wrong with the coordinators that a group begins with.
func CheckPeers(peers []Peer) error {
	var errs []error
	if n := len(peers); n > MaxPeers || n%2 == 0 {
		errs = append(errs, fmt.Errorf("%d coordinators; use 1, 3 or 5: with an even number no more can fail than with one less", n))
	}
	seen := map[string]bool{}
	for _, p := range peers {
		if _, _, err := net.SplitHostPort(p.Address); err != nil || p.ID == "" {
			errs = append(errs, fmt.Errorf("the peer %q at %q; write it as id=host:port", p.ID, p.Address))
		}
		if seen[p.ID] {
			errs = append(errs, fmt.Errorf("the peer %s is there twice", p.ID))
		}
		seen[p.ID] = true
	}
	return errors.Join(errs...)
}

func ids(peers []Peer) []string {
	var all []string
	for _, p := range peers {
		all = append(all, p.ID)
	}
	return all
}

func (g *Group) timeout() time.Duration {
	switch {
	case g == nil:
		return aloneTimeout
	case g.Timeout > 0:
		return g.Timeout
	}
	return defaultTimeout
}

// begin are the members of a new group.
func (g *Group) begin(t raft.Transport) []raft.Server {
	if g == nil {
		return []raft.Server{{ID: nodeID, Address: t.LocalAddr()}}
	}
	var all []raft.Server
	for _, p := range g.Peers {
		all = append(all, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	return all
}

// transport is the way to the others.
func (g *Group) transport(logger hclog.Logger) (transport, error) {
	if g == nil {
		_, t := raft.NewInmemTransport(nodeID)
		return t, nil
	}
	s := newStream(g.Stream)
	c := &raft.NetworkTransportConfig{
		Stream: s, MaxPool: 2, Timeout: 10 * time.Second, Logger: logger, MsgpackUseNewTimeFormat: true,
	}
	if len(g.Peers) > 0 {
		c.ServerAddressProvider = addresses(g.Peers)
	}
	return closing{raft.NewNetworkTransportWithConfig(c), s}, nil
}

// addresses are those of the peers that are known by name.
type addresses []Peer

func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	for _, p := range a {
		if p.ID == string(id) {
			return raft.ServerAddress(p.Address), nil
		}
	}
	return "", errors.New("it is not among the given peers")
}
