package raftlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Resolver is what LookUpPeers needs of a *net.Resolver.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// LookUpPeers waits until a DNS SRV record has as many targets as are expected, and returns them as peers: the first
// label of a target's name is the coordinator's id, as the pods of a StatefulSet have it. All coordinators find the same.
func LookUpPeers(ctx context.Context, r Resolver, name string, expected int) ([]Peer, error) {
	for {
		_, records, err := r.LookupSRV(ctx, "", "", name)
		if len(records) > expected {
			return nil, fmt.Errorf("look up coordinators: %s has %d targets, %d are expected", name, len(records), expected)
		}
		if err == nil && len(records) == expected {
			var peers []Peer
			for _, s := range records {
				host := strings.TrimSuffix(s.Target, ".")
				id, _, _ := strings.Cut(host, ".")
				peers = append(peers, Peer{ID: id, Address: net.JoinHostPort(host, strconv.Itoa(int(s.Port)))})
			}
			slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
			return peers, CheckPeers(peers)
		}
		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("look up coordinators: %s has %d targets, %d are expected", name, len(records), expected),
				err, context.Cause(ctx))
		}
	}
}
