package agent

import (
	"context"

	"pupil/allreduce"
	"pupil/coordinator/wire"
)

// Trainer carries a worker's part of a plan.
type Trainer interface {
	// Train returns when the part has ended. When ctx ends it returns soon, with context.Cause(ctx) or an error that
	// wraps it. When s.StopRequested says so on any worker, all agree on a step, save a checkpoint of it, and end as
	// wire.Stopped. With a nil error the outcome is wire.Finished or wire.Stopped.
	Train(ctx context.Context, a Assignment, s Session) (Outcome, error)
}

// Assignment is a worker's part of a plan.
type Assignment struct {
	wire.Plan
	Lanes []int // this worker's, ascending; may be empty
	Size  int   // workers in the ring; this one's place is Rank
}

// Outcome says how a part ended that did not fail.
type Outcome struct {
	Kind          wire.Outcome // wire.Finished or wire.Stopped
	Step          int          // committed steps, of the whole job
	WeightsSHA256 string       // hex, of the weights after Step; the same on all workers
}

// Session is a trainer's view of the coordinator and the other workers. Its methods may be called from several
// goroutines; all but the ring's return at once.
type Session interface {
	// Ring sums over the workers of the generation. It runs until Train has returned, and beyond.
	Ring() *allreduce.Ring
	// StopRequested says that the coordinator has asked to stop after a step.
	StopRequested() bool
	// SetTimes puts a step and where its time went into the next heartbeats.
	SetTimes(step int, t wire.Times)
	// Report tells of a committed step. Rank 0 calls it after each, in order. Worker, run and generation are filled in.
	Report(r wire.Report)
	// Checkpointed tells that the checkpoint of a step is whole.
	Checkpointed(step int)
}
