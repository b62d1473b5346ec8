package carry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"pupil/coordinator/job"
	"pupil/internal/kernel"
	"pupil/internal/tracing"
	"pupil/internal/version"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
	"pupil/worker/agent"
	"pupil/worker/feed"
	"pupil/worker/setup"
	"pupil/worker/teachercache"
	"pupil/worker/train"
)

// opening is a run that is being opened, or open.
type opening struct {
	name, digest, storage string
	cancel                context.CancelFunc

	telling sync.WaitGroup
	waited  atomic.Bool
	done    chan struct{} // closed when run and err are set
	run     *run
	err     error
}

func begin(a agent.Assignment, open func(ctx context.Context) (*run, error)) *opening {
	ctx, cancel := context.WithCancel(context.Background())
	o := &opening{name: a.Run, digest: a.Digest, storage: a.Storage, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.run, o.err = open(ctx)
	}()
	return o
}

// tell lets done hear, from a goroutine that ends soon after the opening, how it ended; but not when it was given up, nor when
// somebody waits to hear it already.
func (o *opening) tell(done func(error)) {
	if !o.waited.CompareAndSwap(false, true) {
		return
	}
	o.telling.Go(func() {
		defer o.waited.Store(false)
		<-o.done
		if o.err == nil || !errors.Is(o.err, context.Canceled) {
			done(o.err)
		}
	})
}

// failed says whether the opening has ended with an error.
func (o *opening) failed() bool {
	select {
	case <-o.done:
		return o.err != nil
	default:
		return false
	}
}

func (o *opening) is(a agent.Assignment) bool {
	return o.name == a.Run && o.digest == a.Digest && o.storage == a.Storage
}

func (o *opening) close(logger *slog.Logger) {
	o.cancel()
	<-o.done
	o.telling.Wait()
	if o.run != nil {
		o.run.close(logger.With("job", o.name))
	}
}

// run is a run with all that a worker keeps of it from generation to generation.
type run struct {
	job      *setup.Job
	bucket   storage.Bucket
	identity checkpoint.Manifest
	keeper   *Keeper
	state    *train.State
	source   *feed.Carrier
	cache    *teachercache.Cache // of the teacher's outputs; nil: none
	record   *recorder           // nil: none
	trainer  *train.Trainer
	control  *control
	logger   *slog.Logger
}

func (t *Trainer) newRun(ctx context.Context, a agent.Assignment) (*run, error) {
	j, err := setup.Open(ctx, a.Spec)
	if err != nil {
		return nil, err
	}
	r := &run{job: j, control: &control{metrics: t.Metrics, images: a.Spec.Batch / a.Spec.Lanes}, logger: t.Logger}
	if r.bucket, err = location.Open(ctx, a.Storage); err != nil {
		return nil, fmt.Errorf("storage of the run: %w", err)
	}
	if r.state, err = j.State(ctx); err != nil {
		return nil, err
	}
	r.identity = checkpoint.Manifest{
		Job: a.Digest, Dataset: j.Data.Digest(), Teacher: j.TeacherDigest, Kernel: kernel.Class(), CodeVersion: t.Version,
		Numerics: version.Numerics(),
	}
	r.keeper = NewKeeper(KeeperConfig{
		Bucket: r.bucket, Identity: r.identity, Retention: retention(a.Spec.Checkpoint), Unsaved: a.Spec.Checkpoint.MaxUnsaved(),
		Saved: func(step int) {
			t.Metrics.Checkpointed()
			r.control.now.Load().session.Checkpointed(step)
		},
		Describe: func(s train.Snapshot) (map[string]string, error) { return ofSnapshot(j, s) },
		Notice:   func(text string) { r.control.now.Load().session.Notice(text) },
		Logger:   t.Logger,
	})
	r.control.keeper = r.keeper
	teacher, err := j.FreezeTeacher()
	if err != nil {
		return nil, err
	}
	fed := feed.Config{
		Data: j.Data, Order: j.Order, Views: j.Views, Channels: a.Spec.Student.Channels,
		Seed: a.Spec.Seed, SkipBroken: a.Spec.Dataset.Broken == "skip", Workers: t.Threads,
	}
	if r.cache, err = j.TeacherCache(t.TeacherCache); err != nil {
		return nil, err
	}
	if r.cache != nil { // an interface that holds nil is not nil
		fed.TeacherCache = r.cache
	}
	if r.source, err = feed.NewCarrier(fed, j.Steps); err != nil {
		return nil, err
	}
	var source train.Source = r.source
	if t.Record != "" {
		if r.record, err = newRecorder(r.source, t.Record, a.Run, t.Worker); err != nil {
			r.source.Close()
			return nil, err
		}
		source = r.record
	}
	r.trainer, err = train.New(train.Config{
		Batch: a.Spec.Batch, Lanes: a.Spec.Lanes, Threads: t.Threads, Steps: j.Steps,
		Epoch:   func(step int) int { return step / j.Order.StepsPerEpoch() },
		Student: j.Student, Teacher: teacher, Loss: j.Loss, Heads: j.Heads,
		Schedule: j.Schedule(), ClipNorm: a.Spec.Optimizer.ClipNorm, Collapse: train.Collapse(a.Spec.Collapse),
		RankEvery: a.Spec.Health.RankEvery, CheckpointStep: a.Spec.Checkpoint.Every, BucketBytes: a.Spec.Bucket, CompareEvery: compareEvery, Source: source, Control: r.control,
		Trace: r.control.traces(t.Tracing, tracing.Run{Name: a.Run, Digest: a.Digest, Storage: a.Storage}),
	}, r.state)
	if err != nil {
		r.source.Close()
		return nil, err
	}
	return r, nil
}

// prepareRun is newRun for a worker that will carry so many lanes.
func (t *Trainer) prepareRun(ctx context.Context, a agent.Assignment, lanes int) (*run, error) {
	r, err := t.newRun(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := r.trainer.Prepare(ctx, lanes); err != nil {
		r.close(t.Logger)
		return nil, err
	}
	return r, nil
}

// close lets go of all, after a checkpoint under way is written.
func (r *run) close(logger *slog.Logger) {
	if err := r.trainer.Close(); err != nil {
		logger.Error("a checkpoint that was under way", "err", err)
	}
	r.keeper.Close()
	r.source.Close()
	if err := r.record.close(); err != nil {
		logger.Error("the record of what was fed", "err", err)
	}
}

// compareEvery is how often workers compare a checksum of their weights. It costs less than a thousandth of a step, and in
// every step it finds a flipped bit before what was computed with it is committed.
const compareEvery = 1

// part is what the trainer is to do in a generation.
func (r *run) part(a agent.Assignment, s agent.Session) train.Part {
	r.control.now.Store(&place{session: s, rank: a.Rank, lanes: len(a.Lanes), generation: a.Generation})
	p := train.Part{
		Carried: a.Lanes, Rank: a.Rank, Size: a.Size, Reducer: s.Ring(), Saved: a.RestoreStep,
		Load: func(ctx context.Context) (train.Snapshot, error) { return r.load(ctx, a.RestoreStep) },
	}
	p.Saver = r.keeper.For(a.Rank, a.Size, a.RestoreStep)
	return p
}

// retention is what a job says of the checkpoints that stay.
func retention(c job.Checkpoint) checkpoint.Retention {
	return checkpoint.Retention{
		Last: max(1, c.Keep), Every: c.KeepEvery, Best: c.KeepBest, Metric: c.Metric, Largest: c.Metric != job.MetricLoss,
		Grace: checkpoint.DefaultGrace,
	}
}

// load reads the checkpoint of a step, or the newest whole one if that is damaged. Step -1 is the state before the first
// step.
func (r *run) load(ctx context.Context, step int) (train.Snapshot, error) {
	if step < 0 {
		first, err := r.job.State(ctx)
		if err != nil {
			return train.Snapshot{}, err
		}
		return first.Checkpoint()
	}
	snap, err := r.loadStep(ctx, step)
	if err == nil || !errors.Is(err, checkpoint.ErrDamaged) && !errors.Is(err, storage.ErrNotFound) {
		return snap, err
	}
	newest, _, older := checkpoint.Latest(ctx, r.bucket)
	if older != nil {
		return train.Snapshot{}, errors.Join(err, older)
	}
	r.logger.Warn("a checkpoint is not used; going on from an older one", "step", step, "err", err, "older", newest.Step)
	r.control.now.Load().session.Notice(fmt.Sprintf("goes on from the checkpoint of step %d, for that of step %d cannot be used: %v",
		newest.Step, step, err))
	return r.loadStep(ctx, newest.Step)
}

// loadStep reads a checkpoint, after a check that it belongs to the same job, data and teacher.
func (r *run) loadStep(ctx context.Context, step int) (train.Snapshot, error) {
	var none train.Snapshot
	want := r.identity
	m, parts, err := checkpoint.Load(ctx, r.bucket, step)
	if err != nil {
		return none, fmt.Errorf("restore step %d: %w", step, err)
	}
	for _, x := range []struct{ what, have, want string }{
		{"job", m.Job, want.Job}, {"training images", m.Dataset, want.Dataset}, {"teacher", m.Teacher, want.Teacher},
	} {
		if x.have != x.want {
			return none, fmt.Errorf("restore step %d: the checkpoint was made with another %s (digest %.12s, now %.12s); "+
				"resume with the one it was made with, or start a new run", step, x.what, x.have, x.want)
		}
	}
	if m.Kernel != want.Kernel {
		return none, fmt.Errorf("restore step %d: the checkpoint was made with %s kernels and this worker computes with %s, which gives "+
			"other bits; start it with --kernel %s (or PUPIL_KERNEL)", step, m.Kernel, want.Kernel, m.Kernel)
	}
	if m.Numerics != want.Numerics && m.CodeVersion != want.CodeVersion {
		r.logger.Warn("the checkpoint was made by a build that computes other bits; the result is not that of one build alone",
			"then", m.CodeVersion, "numerics", m.Numerics, "now", want.CodeVersion, "numerics_now", want.Numerics)
	}
	return train.Snapshot{Step: m.Step, Parts: parts, Meta: m.Meta}, nil
}
