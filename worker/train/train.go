// Package train is the step loop: from lanes' batches to the same update of the weights on every worker.
//
// A step, as DESIGN section 3 draws it: each lane runs the teacher on its view, then the student forward; the loss sums
// the joint distribution over all lanes (and workers) in the middle of the forward pass; the backward pass follows, and
// gradients leave in buckets while it runs, as fixed-point integers whose sum does not depend on any order; when all
// have come back, every worker applies the same update. So a worker's state after a step is a function of the job and
// the data, whatever lanes it carried.
//
// # Generations
//
// A Trainer outlives the generations of its run: New once, then Run with the Part of each. A Run begins with a roll call:
// the workers tell each other at which step they stand, and those that are behind take the state of the others (meet.go).
// When a generation ends in the middle of a step, the lanes go on computing, and what they have given to the step's sums
// stays: in the next generation only the lanes of workers that are gone are computed again (pending.go, exchange.go).
//
// The loop knows neither storage, nor NATS, nor the coordinator: it declares what it needs of them here.
package train

import (
	"context"
	"errors"

	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// Source gives the lanes their batches.
type Source interface {
	// Carry says which lanes' batches will be asked for from now on.
	Carry(lanes []int) error
	// Next is a lane's batch of a step (counted from 0): in general of the step that follows the one asked for before.
	Next(ctx context.Context, lane, step int) (*feed.Batch, error)
}

// Reducer joins the workers of a generation. Every worker makes the same calls; those of different buckets may run at
// the same time.
type Reducer interface {
	// The vectors are summed over all workers, in place.
	ReduceInt32(ctx context.Context, step uint64, bucket uint32, v []int32) error
	ReduceInt16(ctx context.Context, step uint64, bucket uint32, v []int16) error
	ReduceInt64(ctx context.Context, step uint64, bucket uint32, v []int64) error
	// Share returns a state on every worker, from those that have it; the others give nil and accept so many bytes.
	Share(ctx context.Context, step uint64, bucket uint32, state []byte, most int) ([]byte, error)
	// Commit returns nil on every worker only if all have reduced the same values in this step.
	Commit(ctx context.Context, step uint64) error
}

// ErrUnsaved is a Saver's refusal to go on: too many steps are without a checkpoint. It ends the training. Test for it with
// errors.Is.
var ErrUnsaved = errors.New("the job cannot be saved")

// Saver keeps a checkpoint. It gets a copy, so training goes on meanwhile. After any other error than ErrUnsaved a newer state
// is tried.
type Saver interface {
	Save(ctx context.Context, s Snapshot) error
}

// Request is what the coordinator has asked of a worker. One worker that hears it is enough.
type Request int

// The requests.
const (
	GoOn  Request = iota
	Yield         // end the generation after a step; another one follows
	Stop          // end after a step, and save a checkpoint
)

// Control is the loop's view of the coordinator. Its methods return at once.
type Control interface {
	Requested() Request
	// Began tells that all workers of the generation stand at a step, and whence this one has its state.
	Began(step int, from Origin)
	// Committed tells of a step after its update. The progress, and what it points to, is valid during the call.
	Committed(p Progress)
}

// Origin is where a worker's state at the beginning of a generation comes from.
type Origin string

// The origins.
const (
	FromItself     Origin = ""             // it had it
	FromPeer       Origin = "a peer"       // another worker
	FromCheckpoint Origin = "a checkpoint" // or the beginning, when there is none
)

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
	Joints       [][]float64   // by feature group, [teacher's classes, student's classes] (loss.Result); nil without a joint in the loss
	Priors       []*loss.Prior // by feature group, after the update; nil without one
	Rank         float64       // effective rank of the student's features (loss.Lane.EffectiveRank)
	RankMeasured bool          // in this step
	Images       int           // of the global batch
	Skipped      int           // broken images that were replaced, on all workers
	Unsaved      int           // checkpoints that this worker could not save, and tries again
	GradientNorm float64       // of the sums over all lanes, before it is clipped
	Saturated    int           // values of gradients and batch statistics that left the fixed-point range, on all workers
	Times        Times
}

// Times says where a worker's step went, in seconds.
type Times struct {
	Step    float64 // from the first lane's start to the update
	Input   float64 // the longest that a lane waited for its batch
	Compute float64 // the sum over lanes of forward, loss and backward, without waiting
	Reduce  float64 // after the last lane had ended, until all sums were there
	Update  float64

	// Compute by phase, each the sum over lanes.
	Teacher, Forward, Joint, Backward float64

	Exchange float64 // gradients were under way between the workers
	Exposed  float64 // the part of it after the last lane had ended
}

// Config is a job, as a worker trains it.
type Config struct {
	Batch   int // images a step, over all lanes of the job
	Lanes   int // of the job
	Threads int // lanes that compute at the same time; at least 1. What lanes leave over, teachers share
	Steps   int // of the whole job
	Epoch   func(step int) int

	Student        *nn.Network
	Teacher        *nn.Frozen // that all lanes share; nil: supervised training
	Loss           *loss.Loss
	Heads          []Head // where the loss's heads come from, in its order
	Schedule       optim.Schedule
	ClipNorm       float64 // bound of the norm of all gradients; 0: none
	Collapse       Collapse
	RankEvery      int // the effective rank is measured every so many steps; 0: never
	BucketBytes    int // of gradients that cross the ring together, from which a bucket takes no more; 0: by their number
	CheckpointStep int // a checkpoint every so many steps; 0: only at the end
	CompareEvery   int // the workers compare a checksum of their weights every so many steps; 0: only when a generation begins

	Source  Source
	Control Control

	// Trace takes the spans of a step, counted from 0; nil, or a nil result: none.
	Trace func(step int) Trace
}

// Part is what a worker does in a generation.
type Part struct {
	Carried    []int // the lanes that this worker carries; may be empty
	Rank, Size int   // this worker's place among those of the generation
	Reducer    Reducer
	Saver      Saver // nil: another worker saves
	Saved      int   // step of the newest checkpoint, of which all workers have heard; -1: there is none
	// Load reads the newest whole checkpoint, or makes the state before the first step when there is none. Rank 0 calls it
	// when no worker has what is needed to go on.
	Load func(ctx context.Context) (Snapshot, error)
}

// Head names the outputs that a head of the loss compares. Heads have different student's outputs.
type Head struct{ Teacher, Student nn.Output }

// Outcome says how a run of the loop ended without an error.
type Outcome int

// The outcomes.
const (
	Finished Outcome = iota + 1 // all steps are done
	Stopped                     // a stop was asked for; a checkpoint of the last step is saved
	Yielded                     // the generation was asked to end; the next one goes on from here
)

// The buckets that are no gradients. Gradient buckets count from 0.
const (
	bucketLoss     uint32 = 1 << 16 // and the following: the vectors of the loss, in the order of its calls
	bucketControl  uint32 = 1 << 20 // votes and counts
	bucketFeedback uint32 = 1 << 24 // who knows the lanes' error feedback, and the following: that of each lane
)

// The steps of a generation's ring.
const (
	ringMeet   uint64 = iota // the roll call
	ringShare                // the newest state goes to those that lack it
	ringGather               // and the lanes' error feedback
	ringReload               // or all begin from a checkpoint
	ringFirst                // the job's step 0, and the following: its others
)
