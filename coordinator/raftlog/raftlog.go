package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"pupil/coordinator/cluster"
)

// ErrLocked says that another process, or another Log of this one, has the folder open.
var ErrLocked = errors.New("the folder is in use by another coordinator")

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("the log is closed")

// Options change how a log is kept. The zero value is right for a group of one.
type Options struct {
	Group             *Group           // nil: a group of one, which nobody else can reach
	Logger            *slog.Logger     // of raft's own messages, at debug level; default: none
	Now               func() time.Time // the time of a command; default time.Now
	SnapshotThreshold uint64           // commands after which the log is replaced by a snapshot; default 4096
	SnapshotInterval  time.Duration    // how often that is looked at, or rarer up to twice; default 30s
}

// Log is a durable state. Its methods may be called from several goroutines.
type Log struct {
	raft    *raft.Raft
	id      raft.ServerID
	fsm     *fsm
	now     func() time.Time
	terms   terms
	closers []closer // in the order of their opening
}

type closer struct {
	what  string
	close func() error
}

const (
	aloneTimeout  = 50 * time.Millisecond // of elections; short, since one node has nobody to wait for
	nodeID        = "coordinator"         // of a group of one
	segmentSize   = 4 << 20               // bytes; a segment takes its room on disk at once
	keptSnapshots = 2
)

// Open opens the log in a folder, or begins one there. ctx bounds the opening only. Alone it is ready then; in a group
// it begins to look for the others, see AwaitLeadership.
func Open(ctx context.Context, dir string, o Options) (_ *Log, err error) {
	l := &Log{fsm: newFSM(), now: o.Now, id: nodeID}
	if l.now == nil {
		l.now = time.Now
	}
	if o.Group != nil {
		if err := o.Group.Validate(); err != nil {
			return nil, err
		}
		l.id = raft.ServerID(o.Group.ID)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the coordinator's log in %s: %w", dir, err), l.close())
		}
	}()
	if err := os.MkdirAll(filepath.Join(dir, "wal"), 0o750); err != nil {
		return nil, err
	}
	// First of all the lock: the log's own would wait for the other process without end.
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	l.defers("lock", unlock)
	if err := l.start(dir, o); err != nil {
		return nil, err
	}
	if o.Group != nil {
		return l, nil
	}
	_, err = l.AwaitLeadership(ctx)
	return l, err
}

func (l *Log) defers(what string, close func() error) {
	l.closers = append(l.closers, closer{what, close})
}

// start opens the stores and starts raft.
func (l *Log) start(dir string, o Options) error {
	logger := newLogger(o.Logger)
	meta := &metadb.BoltMetaDB{}
	l.defers("log's metadata", meta.Close) // closing the log leaves it open
	logs, err := wal.Open(filepath.Join(dir, "wal"), wal.WithMetaStore(meta), wal.WithLogger(logger),
		wal.WithSegmentSize(segmentSize))
	if err != nil {
		return err
	}
	l.defers("log", logs.Close)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, logger)
	if err != nil {
		return err
	}
	transport, err := o.Group.transport(logger)
	if err != nil {
		return err
	}
	l.defers("transport", transport.Close)

	notify := make(chan bool)
	c := l.config(o, logger, notify)
	if err := bootstrap(c, logs, snapshots, transport, o.Group.begin(transport)); err != nil {
		return err
	}
	// The configuration in the log has the addresses of the first start. Those that Group gives come first, and a
	// node knows itself by its id.
	l.raft, err = raft.NewRaft(c, l.fsm, logs, logs, snapshots, transport)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		l.terms.watch(notify, ended)
	}()
	l.defers("raft", func() error {
		err := l.raft.Shutdown().Error()
		close(ended)
		<-watching
		return err
	})
	return nil
}

func (l *Log) config(o Options, logger hclog.Logger, notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = l.id
	c.Logger = logger
	c.NotifyCh = notify
	c.ShutdownOnRemove = false // the notice of a lost leadership would be a matter of luck
	timeout := o.Group.timeout()
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = timeout, timeout, timeout
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 4096, 30*time.Second, 256
	if o.SnapshotThreshold > 0 {
		c.SnapshotThreshold = o.SnapshotThreshold
		c.TrailingLogs = min(c.TrailingLogs, o.SnapshotThreshold)
	}
	if o.SnapshotInterval > 0 {
		c.SnapshotInterval = o.SnapshotInterval
	}
	return c
}

// bootstrap makes the group when the folder is new and servers are given.
func bootstrap(c *raft.Config, logs *wal.WAL, snapshots raft.SnapshotStore, t raft.Transport, servers []raft.Server) error {
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	metas, err := snapshots.List()
	if err != nil {
		return err
	}
	if last > 0 || len(metas) > 0 || len(servers) == 0 {
		return nil
	}
	// A process that was killed in here may have left a term without a log, which raft takes for a group to join.
	if err := logs.SetUint64([]byte("CurrentTerm"), 0); err != nil {
		return err
	}
	return raft.BootstrapCluster(c, logs, logs, snapshots, t, raft.Configuration{Servers: servers})
}

// Apply makes a command durable and applies it; only the leader can (ErrNotLeader). The error of a refused command is cluster's; the state is then as
// before. ctx is looked at first: a command that was handed to the log is waited for.
func (l *Log) Apply(ctx context.Context, c cluster.Command) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	data, err := cluster.EncodeCommand(l.now(), c)
	if err != nil {
		return err
	}
	f := l.raft.Apply(data, 0)
	if err := f.Error(); err != nil {
		return told("write to the coordinator's log", err)
	}
	if err, ok := f.Response().(error); ok {
		return err
	}
	return nil
}

// State returns a copy of the state.
func (l *Log) State() *cluster.State { return l.fsm.clone() }

// Tokens are those of the state. The slice is never changed.
func (l *Log) Tokens() []cluster.Token {
	l.fsm.mu.Lock()
	defer l.fsm.mu.Unlock()
	return l.fsm.state.Tokens
}

// Removed are the tokens that were removed of late. The slice is never changed.
func (l *Log) Removed() []cluster.RemovedToken {
	l.fsm.mu.Lock()
	defer l.fsm.mu.Unlock()
	return l.fsm.state.Removed
}

// Compact replaces the log by a snapshot now. Otherwise that happens from time to time, see Options.
func (l *Log) Compact() error {
	if err := l.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("compact the coordinator's log: %w", err)
	}
	return nil
}

// Close ends the log and frees the folder. Commands under way fail with ErrClosed. To close again changes nothing.
func (l *Log) Close() error { return l.close() }

func (l *Log) close() error {
	var errs []error
	for len(l.closers) > 0 {
		last := l.closers[len(l.closers)-1]
		l.closers = l.closers[:len(l.closers)-1]
		if err := last.close(); err != nil {
			errs = append(errs, fmt.Errorf("close the %s: %w", last.what, err))
		}
	}
	return errors.Join(errs...)
}

// newLogger passes raft's messages on at debug level.
func newLogger(to *slog.Logger) hclog.Logger {
	if to == nil || !to.Enabled(context.Background(), slog.LevelDebug) {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Debug, DisableTime: true, Output: lineWriter{to}})
}

// lineWriter logs each line that is written to it.
type lineWriter struct{ to *slog.Logger }

var _ io.Writer = lineWriter{}
