// Package raftlog keeps the cluster's state durable: a raft log of commands, snapshots, and the state that they lead
// to.
//
// A Log is a group of one node in a folder:
//
//	lock        held by the process that has the folder open
//	wal/        the log's segments and wal-meta.db
//	snapshots/  the newest two
//
// Apply returns after the command is on disk and applied, or refused. A process that is killed at any moment finds all
// of that again. Apply costs an fsync, about a millisecond: what a worker does in every step does not belong here.
package raftlog
