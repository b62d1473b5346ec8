// Package train is the step loop: from lanes' batches to the same update of the weights on every worker.
//
// A step, as DESIGN section 3 draws it: each lane runs the teacher on its view, then the student forward; the loss sums
// the joint distribution over all lanes (and workers) in the middle of the forward pass; the backward pass follows, and
// gradients leave in buckets while it runs, as fixed-point integers whose sum does not depend on any order; when all
// have come back, every worker applies the same update. So a worker's state after a step is a function of the job and
// the data, whatever lanes it carried.
//
// The loop knows neither storage, nor NATS, nor the coordinator: it declares what it needs of them here.
package train

import (
	"context"

	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// Source gives the lanes their batches, each lane's in step order.
type Source interface {
	Next(ctx context.Context, lane int) (*feed.Batch, error)
}

// Reducer sums vectors over all workers of the generation, in place. Every worker makes the same calls; those of
// different buckets may run at the same time.
type Reducer interface {
	ReduceInt32(ctx context.Context, step uint64, bucket uint32, v []int32) error
	ReduceInt16(ctx context.Context, step uint64, bucket uint32, v []int16) error
	ReduceInt64(ctx context.Context, step uint64, bucket uint32, v []int64) error
	// Share returns a state on every worker, from those that have it; the others give nil and accept so many bytes.
	Share(ctx context.Context, step uint64, bucket uint32, state []byte, most int) ([]byte, error)
	// Commit returns nil on every worker only if all have reduced the same values in this step.
	Commit(ctx context.Context, step uint64) error
}

// Saver keeps a checkpoint. It gets a copy, so training goes on meanwhile.
type Saver interface {
	Save(ctx context.Context, s Snapshot) error
}

// Control is the loop's view of the coordinator. Its methods return at once.
type Control interface {
	// StopRequested says that the job shall stop after a step. One worker that hears it is enough.
	StopRequested() bool
	// Committed tells of a step after its update. The progress, and what it points to, is valid during the call.
	Committed(p Progress)
}

// Snapshot is a copy of all that the next step depends on.
type Snapshot struct {
	Step  int // committed steps
	Parts map[string]*safetensors.File
	Meta  []byte // JSON: the state that is no tensor
}

// Progress describes a committed step.
type Progress struct {
	Step         int // committed steps, this one included
	Total        int
	Epoch        int
	LearningRate float64
	Loss         float64 // of the global batch
	Terms        []loss.TermValue
	Health       loss.Health
	Rank         float64 // effective rank of the student's features (loss.Lane.EffectiveRank)
	RankMeasured bool    // in this step
	Images       int     // of the global batch
	Skipped      int     // broken images that were replaced, on all workers
	GradientNorm float64 // of the sums over all lanes, before it is clipped
	Saturated    int     // values of gradients and batch statistics that left the fixed-point range, on all workers
	Times        Times
}

// Times says where a worker's step went, in seconds.
type Times struct {
	Step    float64 // from the first lane's start to the update
	Input   float64 // the longest that a lane waited for its batch
	Compute float64 // the sum over lanes of forward, loss and backward, without waiting
	Reduce  float64 // after the last lane had ended, until all sums were there
	Update  float64
}

// Config is a worker's part of a job.
type Config struct {
	Batch   int   // images a step, over all lanes of the job
	Lanes   int   // of the job
	Carried []int // the lanes that this worker carries; may be empty
	Threads int   // lanes that compute at the same time; at least 1. What lanes leave over, teachers share
	Steps   int   // of the whole job
	Epoch   func(step int) int

	Student        *nn.Network
	Teacher        *nn.Frozen // that all lanes share; nil: supervised training
	Loss           *loss.Loss
	Heads          []Head // where the loss's heads come from, in its order
	Schedule       optim.Schedule
	ClipNorm       float64 // bound of the norm of all gradients; 0: none
	Collapse       Collapse
	RankEvery      int // the effective rank is measured every so many steps; 0: never
	CheckpointStep int // a checkpoint every so many steps; 0: only at the end

	Source  Source
	Reducer Reducer
	Saver   Saver // nil: another worker saves
	Control Control
}

// Head names the outputs that a head of the loss compares. Heads have different student's outputs.
type Head struct{ Teacher, Student nn.Output }

// Outcome says how a run of the loop ended without an error.
type Outcome int

// The outcomes.
const (
	Finished Outcome = iota + 1 // all steps are done
	Stopped                     // a stop was asked for; a checkpoint of the last step is saved
)

// The buckets that are no gradients. Gradient buckets count from 0.
const (
	bucketLoss     uint32 = 1 << 16 // and the following: the vectors of the loss, in the order of its calls
	bucketControl  uint32 = 1 << 20 // stop votes and counts
	bucketFeedback uint32 = 1 << 24 // who knows the lanes' error feedback, and the following: that of each lane
)
