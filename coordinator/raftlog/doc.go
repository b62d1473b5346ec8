// Package raftlog keeps the cluster's state durable: a raft log of commands, snapshots, and the state that they lead
// to.
//
// A Log lives in a folder:
//
//	lock        held by the process that has the folder open
//	wal/        the log's segments and wal-meta.db
//	snapshots/  the newest two
//
// Apply returns after the command is on disk and applied, or refused. A process that is killed at any moment finds all
// of that again. Apply costs an fsync, about a millisecond: what a worker does in every step does not belong here.
//
// Without Options.Group a Log is a group of one. With it, it is one of up to five, and Apply returns when most of them
// have the command on disk:
//
//	log, err := raftlog.Open(ctx, folder, raftlog.Options{Group: &raftlog.Group{ID: "a", Stream: stream, Peers: peers}})
//	for {
//		lost, err := log.AwaitLeadership(ctx)
//		... // lead until lost is closed; Apply then gives ErrNotLeader
//	}
//
// A folder that was lost must not come back empty under the same id: the group would count on what it has forgotten.
// Remove the member, and add one with another id.
package raftlog
