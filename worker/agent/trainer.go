package agent

import (
	"context"

	"pupil/allreduce"
	"pupil/coordinator/wire"
)

// Trainer carries a worker's part of one plan after the other.
type Trainer interface {
	// Train returns when the part has ended. When ctx ends it returns soon, with context.Cause(ctx) or an error that
	// wraps it. When s.Requested says so on any worker, all agree on a step, and end after it as wire.Yielded, or save a
	// checkpoint of it and end as wire.Stopped. With a nil error the outcome is one of these or wire.Finished. After an
	// Interruption, or the end of ctx, Train may be called with the part of another generation of the same run, and goes
	// on from what it has.
	Train(ctx context.Context, a Assignment, s Session) (Outcome, error)
}

// Preparer is a Trainer that can open what a run names before it is given a part of it.
type Preparer interface {
	// Prepare returns at once, and lets done hear, from another goroutine, when Train would begin without delay, or why it cannot.
	// Like Train it is called by one goroutine at a time.
	Prepare(m wire.Prepare, done func(error))
}

// Request is what the coordinator has asked for.
type Request int32

// The requests.
const (
	GoOn  Request = iota
	Pause         // end after a step: another generation follows
	Stop          // end after a step, and save a checkpoint
)

// Assignment is a worker's part of a plan.
type Assignment struct {
	wire.Plan
	Lanes []int // this worker's, ascending; may be empty
	Size  int   // workers in the ring; this one's place is Rank
}

// Outcome says how a part ended that did not fail.
type Outcome struct {
	Kind          wire.Outcome // wire.Finished, wire.Stopped or wire.Yielded
	Step          int          // committed steps, of the whole job
	WeightsSHA256 string       // hex, of the weights after Step; the same on all workers
}

// Session is a trainer's view of the coordinator and the other workers. Its methods may be called from several
// goroutines; all but the ring's return at once.
type Session interface {
	// Ring sums over the workers of the generation. It runs until Train has returned, and beyond.
	Ring() *allreduce.Ring
	// Requested is what the coordinator has asked for.
	Requested() Request
	// Began tells where the generation begins. Rank 0 calls it, and who has taken its state from elsewhere.
	Began(step int, from string)
	// SetTimes puts a step and where its time went into the next heartbeats.
	SetTimes(step int, t wire.Times)
	// Report tells of a committed step. Rank 0 calls it after each, in order. Worker, run and generation are filled in.
	Report(r wire.Report)
	// Draw shows a step's distributions to people. Rank 0 calls it now and then. Worker, run and generation are filled in.
	Draw(d wire.Distributions)
	// Notice tells operators of something that the worker goes on from.
	Notice(text string)
	// Checkpointed tells that the checkpoint of a step is whole.
	Checkpointed(step int)
}
