// Package carry turns assignments of the coordinator into a running trainer: it opens what the job names, trains, and
// leaves the student where a user finds it. What it has opened, the state and the lanes' graphs stay from one generation
// of a run to the next.
package carry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pupil/allreduce"
	"pupil/coordinator/wire"
	"pupil/internal/metrics"
	"pupil/internal/tracing"
	"pupil/storage"
	"pupil/storage/diskcache"
	"pupil/storage/safetensors"
	"pupil/worker/agent"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/train"
)

// Trainer carries lanes for the agent. It implements agent.Trainer.
type Trainer struct {
	Threads int    // lanes that compute at the same time; at least 1
	Version string // of this build, for the checkpoints
	Worker  string // its name, for Record
	Record  string // folder that gets WORKER.jsonl with what the lanes were fed; "": none
	Logger  *slog.Logger
	Metrics *metrics.Worker // nil: none
	Tracing *tracing.Tracer // of steps; nil: none

	TeacherCache *diskcache.Cache // of teachers' outputs; nil: none

	opening *opening // of the run that was carried last; nil: none
}

var (
	_ agent.Trainer  = (*Trainer)(nil)
	_ agent.Preparer = (*Trainer)(nil)
)

// Train does a worker's part of a generation, from where the workers of it stand.
func (t *Trainer) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	t.Metrics.Part(a.Run, a.Generation, a.Rank, len(a.Lanes))
	out, err := t.train(ctx, a, s)
	interrupted := err != nil && (ctx.Err() != nil || errors.Is(err, agent.ErrInterrupted) || agent.Interruption(err))
	t.Metrics.Left(interrupted, err == nil && out.Kind == wire.Yielded, err != nil && !interrupted)
	return out, err
}

func (t *Trainer) train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	r, err := t.open(ctx, a)
	if err != nil {
		return agent.Outcome{}, err
	}
	outcome, err := r.trainer.Run(ctx, r.part(a, s))
	switch {
	case errors.Is(err, train.ErrDiverged):
		return agent.Outcome{}, fmt.Errorf("%w: %w", agent.ErrInterrupted, err)
	case errors.Is(err, train.ErrOtherDiverged):
		return agent.Outcome{}, fmt.Errorf("%w: %w", allreduce.ErrMismatch, err)
	case err != nil:
		if ctx.Err() == nil && !agent.Interruption(err) { // what is left may lie in the middle of an update
			t.Close()
		}
		return agent.Outcome{}, err
	}
	if outcome == train.Yielded {
		return agent.Outcome{Kind: wire.Yielded, Step: r.state.Step}, nil
	}
	if c := r.cache; c != nil {
		found, computed := c.Counts()
		t.Logger.Info("the teacher's outputs", "job", a.Run, "from_cache", found, "computed", computed)
	}
	if err := r.keeper.Flush(ctx, a.Rank); err != nil {
		return agent.Outcome{}, err
	}
	return finish(ctx, t.Logger, r.bucket, r.job, r.state, a.Rank, outcome)
}

// Close lets go of all that was kept for another generation, after a checkpoint under way is written.
func (t *Trainer) Close() {
	if t.opening != nil {
		t.opening.close(t.Logger)
		t.opening = nil
	}
}

// open returns the run of an assignment: the one that was carried before, or one that is opened now. It goes on opening
// when ctx ends, for the next generation.
func (t *Trainer) open(ctx context.Context, a agent.Assignment) (*run, error) {
	if t.opening != nil && !t.opening.is(a) {
		t.Close()
	}
	if t.opening == nil {
		t.opening = begin(a, func(ctx context.Context) (*run, error) { return t.newRun(ctx, a) })
	}
	o := t.opening
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if o.err != nil {
		t.opening = nil
	}
	return o.run, o.err
}

// Prepare opens a run beside all else, so that Train begins at once. It implements agent.Preparer.
func (t *Trainer) Prepare(m wire.Prepare, done func(error)) {
	a := agent.Assignment{Plan: wire.Plan{Run: m.Run, Spec: m.Spec, Digest: m.Digest, Storage: m.Storage}}
	if t.opening != nil && (!t.opening.is(a) || t.opening.failed()) {
		t.Close()
	}
	if t.opening == nil {
		t.Logger.Info("preparing", "job", m.Run)
		t.opening = begin(a, func(ctx context.Context) (*run, error) { return t.prepareRun(ctx, a, m.Lanes) })
	}
	t.opening.tell(done)
}

// finish tells how training ended; rank 0 also writes the finished student.
func finish(ctx context.Context, logger *slog.Logger, run storage.Bucket, j *setup.Job, state *train.State, rank int, o train.Outcome,
) (agent.Outcome, error) {
	digest, err := state.Digest()
	if err != nil {
		return agent.Outcome{}, err
	}
	out := agent.Outcome{Kind: wire.Stopped, Step: state.Step, WeightsSHA256: digest}
	if o != train.Finished {
		return out, nil
	}
	out.Kind = wire.Finished
	if rank == 0 {
		if err := insist(ctx, logger, func() error { return writeStudent(ctx, run, j, state, digest) }); err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("%w: %v", train.ErrUnsaved, err) // no interruption, whatever the cause
			}
			return agent.Outcome{}, fmt.Errorf("write the student: %w", err)
		}
	}
	return out, nil
}

// insist writes until the storage takes it, for as long as the last checkpoint is tried.
func insist(ctx context.Context, logger *slog.Logger, write func() error) error {
	until := time.Now().Add(lastWait)
	for wait := firstPause; ; wait = min(2*wait, mostPause) {
		err := write()
		if err == nil || time.Now().Add(wait).After(until) {
			return err
		}
		logger.Warn("the student could not be written; trying again", "in", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// writeStudent writes the student, config.json last: with it the folder is whole.
func writeStudent(ctx context.Context, run storage.Bucket, j *setup.Job, state *train.State, digest string) error {
	folder := storage.Prefix(run, wire.StudentFolder)
	config := described(j, state.Step, state.Average != nil, digest)
	m, err := metadata(config)
	if err != nil {
		return err
	}
	if prior := state.ExportPrior(); prior != nil {
		if err := safetensors.Put(ctx, folder, nn.PriorFile, prior); err != nil {
			return err
		}
	}
	return nn.SaveFolder(ctx, folder, j.Student, state.Student(), config, m)
}
