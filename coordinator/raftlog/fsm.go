package raftlog

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"pupil/coordinator/cluster"
)

// fsm lets raft drive a cluster.State. raft calls Apply, Snapshot and Restore from one goroutine; others read copies.
type fsm struct {
	mu     sync.Mutex
	state  *cluster.State
	broken error // a command of the log could not be read; the state is not to be trusted
}

var _ raft.FSM = (*fsm)(nil)

func newFSM() *fsm { return &fsm{state: cluster.New()} }

// Apply returns nil or the error of the command.
func (f *fsm) Apply(entry *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	at, c, err := cluster.DecodeCommand(entry.Data)
	if err != nil {
		f.broken = fmt.Errorf("entry %d of the log: %w", entry.Index, err)
		return f.broken
	}
	if err := f.state.Apply(at, c); err != nil {
		return err
	}
	return nil
}

// Snapshot encodes the state at once; it is small.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	data, err := f.state.Encode()
	if err != nil {
		return nil, err
	}
	return encoded(data), nil
}

// maxSnapshot is the largest snapshot that is read, in bytes.
const maxSnapshot = 1 << 30

// Restore replaces the state.
func (f *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	data, err := io.ReadAll(io.LimitReader(from, maxSnapshot))
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	state, err := cluster.Decode(data)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
	return nil
}

func (f *fsm) clone() *cluster.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Clone()
}

func (f *fsm) damage() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// encoded is a snapshot.
type encoded []byte

// Persist writes the snapshot.
func (e encoded) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(e); err != nil {
		_ = sink.Cancel() // the first error says more
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release has nothing to free.
func (encoded) Release() {}

// Write logs a line.
func (w lineWriter) Write(line []byte) (int, error) {
	w.to.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
