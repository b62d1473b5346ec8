package raftlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ErrNotLeader says that another coordinator leads, or none. A command may have been applied all the same when the
// leadership was lost meanwhile: its error says so.
var ErrNotLeader = errors.New("this coordinator does not lead")

// told puts raft's errors into ours.
func told(what string, err error) error {
	switch {
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%s: %w (%w)", what, ErrNotLeader, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// terms tells of the times in which this node leads.
type terms struct {
	mu      sync.Mutex
	lost    chan struct{} // closed at the term's end; nil: it does not lead
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// watch follows raft's notices until ended is closed.
func (t *terms) watch(notify <-chan bool, ended <-chan struct{}) {
	for {
		select {
		case leads := <-notify:
			t.set(leads)
		case <-ended:
			t.set(false)
			return
		}
	}
}

func (t *terms) set(leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost != nil {
		close(t.lost)
		t.lost = nil
	}
	if leads {
		t.lost = make(chan struct{})
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

func (t *terms) get() (lost, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.lost, t.changed
}

// AwaitLeadership waits until this coordinator leads and its state has all that was ever confirmed. lost is closed
// when it leads no more.
func (l *Log) AwaitLeadership(ctx context.Context) (lost <-chan struct{}, err error) {
	for {
		lost, changed := l.terms.get()
		if l.raft.State() == raft.Shutdown {
			return nil, ErrClosed
		}
		if lost != nil {
			err := l.raft.Barrier(0).Error()
			switch {
			case err == nil:
				return lost, l.fsm.damage()
			case errors.Is(err, raft.ErrRaftShutdown):
				return nil, ErrClosed
			}
			// It has lost the leadership, or hands it over; the next change tells. Should the handing over fail, it
			// leads on without a change.
			if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
				lost = nil
			}
		}
		var again <-chan time.Time
		if lost != nil {
			again = time.After(handOver)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// handOver is how long raft tries to hand the leadership over.
const handOver = 100 * time.Millisecond

// Leader returns the coordinator that leads, as far as this one knows, or false.
func (l *Log) Leader() (Peer, bool) {
	address, id := l.raft.LeaderWithID()
	return Peer{ID: string(id), Address: string(address)}, id != ""
}

// Leads says whether this coordinator leads, as far as it knows.
func (l *Log) Leads() bool {
	lost, _ := l.terms.get()
	return lost != nil
}

// Term is the number of the elections so far, as this coordinator knows.
func (l *Log) Term() uint64 { return l.raft.CurrentTerm() }

// Verify asks most of the others whether this coordinator leads. Without an error it led after the call began.
func (l *Log) Verify() error {
	if l.raft.State() == raft.Shutdown { // which would take the question and not answer
		return ErrClosed
	}
	if err := l.raft.VerifyLeader().Error(); err != nil {
		return told("make sure of the leadership", err)
	}
	return nil
}

// HandOver lets another coordinator lead; a group of one keeps its leader. It returns when that one has begun.
func (l *Log) HandOver() error {
	if !l.Leads() {
		return nil
	}
	members, err := l.Members()
	if err != nil || len(members) < 2 {
		return err
	}
	if err := l.raft.LeadershipTransfer().Error(); err != nil {
		return told("hand the leadership over", err)
	}
	return nil
}

// Members are the coordinators of the group, as this one knows them.
func (l *Log) Members() ([]Peer, error) {
	f := l.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, told("read the group's members", err)
	}
	var all []Peer
	for _, s := range f.Configuration().Servers {
		all = append(all, Peer{ID: string(s.ID), Address: string(s.Address)})
	}
	return all, nil
}

// AddMember takes a coordinator into the group, or changes the address of one. Only the leader can.
func (l *Log) AddMember(ctx context.Context, p Peer) error {
	members, err := l.Members()
	if err != nil {
		return err
	}
	known := false
	for _, m := range members {
		if m == p {
			return nil
		}
		known = known || m.ID == p.ID
		if m.ID != p.ID && m.Address == p.Address {
			return fmt.Errorf("add coordinator %s: %s has the address %s", p.ID, m.ID, p.Address)
		}
	}
	if !known && len(members) >= MaxPeers {
		return fmt.Errorf("add coordinator %s: there are %d already, which is the most", p.ID, len(members))
	}
	f := l.raft.AddVoter(raft.ServerID(p.ID), raft.ServerAddress(p.Address), 0, wait(ctx))
	if err := f.Error(); err != nil {
		return told("add coordinator "+p.ID, err)
	}
	return nil
}

// RemoveMember takes a coordinator out of the group. Only the leader can; when it removes itself, another one leads
// afterwards. What was removed does not take part any more, and its process may be ended.
func (l *Log) RemoveMember(ctx context.Context, id string) error {
	members, err := l.Members()
	if err != nil {
		return err
	}
	found := false
	for _, m := range members {
		found = found || m.ID == id
	}
	switch {
	case !found:
		return fmt.Errorf("remove coordinator %s: the group has only %s", id, ids(members))
	case len(members) == 1:
		return fmt.Errorf("remove coordinator %s: it is the last one", id)
	}
	if err := l.raft.RemoveServer(raft.ServerID(id), 0, wait(ctx)).Error(); err != nil {
		return told("remove coordinator "+id, err)
	}
	return nil
}

// wait is the time that ctx leaves; 0: any.
func wait(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return max(time.Millisecond, time.Until(at))
	}
	return 0
}
