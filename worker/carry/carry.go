// Package carry turns an assignment of the coordinator into a running trainer: it opens what the job names, restores the
// checkpoint that the plan names, trains, and leaves the student where a user finds it.
package carry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"pupil/coordinator/wire"
	"pupil/internal/kernel"
	"pupil/internal/version"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
	"pupil/storage/safetensors"
	"pupil/worker/agent"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/train"
)

// Trainer carries lanes for the agent. It implements agent.Trainer.
type Trainer struct {
	Threads int    // lanes that compute at the same time; at least 1
	Version string // of this build, for the checkpoints
	Logger  *slog.Logger
}

var _ agent.Trainer = (*Trainer)(nil)

// Train does a worker's part of a plan, from its restore point until the job ends.
func (t *Trainer) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	j, err := setup.Open(ctx, a.Spec)
	if err != nil {
		return agent.Outcome{}, err
	}
	run, err := location.Open(ctx, a.Storage)
	if err != nil {
		return agent.Outcome{}, fmt.Errorf("storage of the run: %w", err)
	}
	state, err := j.State(ctx)
	if err != nil {
		return agent.Outcome{}, err
	}
	identity := checkpoint.Manifest{
		Job: a.Digest, Dataset: j.Data.Digest(), Teacher: j.TeacherDigest, Kernel: kernel.Name(), CodeVersion: t.Version,
	}
	if a.RestoreStep >= 0 {
		if err := t.restore(ctx, run, state, a.RestoreStep, identity); err != nil {
			return agent.Outcome{}, err
		}
		t.Logger.Info("restored", "step", state.Step)
	}
	var save train.Saver
	if a.Rank == 0 {
		save = &saver{bucket: run, identity: identity, keep: a.Spec.Checkpoint.Keep, session: s}
	}
	outcome, err := t.run(ctx, j, state, a, s, save)
	if err != nil {
		return agent.Outcome{}, err
	}
	return finish(ctx, run, j, state, a.Rank, outcome)
}

// run trains with a feed beside it.
func (t *Trainer) run(ctx context.Context, j *setup.Job, state *train.State, a agent.Assignment, s agent.Session,
	save train.Saver,
) (train.Outcome, error) {
	source, err := feed.New(feed.Config{
		Data: j.Data, Order: j.Order, Views: j.Views, Channels: a.Spec.Student.Channels,
		Seed: a.Spec.Seed, SkipBroken: a.Spec.Dataset.Broken == "skip", Workers: t.Threads,
	}, a.Lanes, state.Step, j.Steps)
	if err != nil {
		return 0, err
	}
	teacher, err := j.FreezeTeacher()
	if err != nil {
		return 0, err
	}
	trainer, err := train.New(train.Config{
		Batch: a.Spec.Batch, Lanes: a.Spec.Lanes, Carried: a.Lanes, Threads: t.Threads, Steps: j.Steps,
		Epoch:   func(step int) int { return step / j.Order.StepsPerEpoch() },
		Student: j.Student, Teacher: teacher, Loss: j.Loss, Heads: j.Heads,
		Schedule: j.Schedule(), ClipNorm: a.Spec.Optimizer.ClipNorm, Collapse: train.Collapse(a.Spec.Collapse), RankEvery: a.Spec.Health.RankEvery,
		CheckpointStep: a.Spec.Checkpoint.Every,
		Source:         source, Reducer: s.Ring(), Saver: save, Control: &control{session: s, rank: a.Rank},
	}, state)
	if err != nil {
		return 0, err
	}
	defer trainer.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if err := source.Run(ctx); err != nil {
			cancel(err)
		}
	}()
	outcome, err := trainer.Run(ctx)
	cancel(errEnded)
	<-fed
	return outcome, err
}

var errEnded = errors.New("training has ended")

// restore puts a checkpoint into state, after a check that it belongs to the same job, data and teacher.
func (t *Trainer) restore(ctx context.Context, run storage.Bucket, state *train.State, step int, want checkpoint.Manifest) error {
	m, parts, err := checkpoint.Load(ctx, run, step)
	if err != nil {
		return fmt.Errorf("restore step %d: %w", step, err)
	}
	for _, x := range []struct{ what, have, want string }{
		{"job", m.Job, want.Job}, {"training images", m.Dataset, want.Dataset}, {"teacher", m.Teacher, want.Teacher},
	} {
		if x.have != x.want {
			return fmt.Errorf("restore step %d: the checkpoint was made with another %s (digest %.12s, now %.12s); "+
				"resume with the one it was made with, or start a new run", step, x.what, x.have, x.want)
		}
	}
	if m.Kernel != want.Kernel {
		return fmt.Errorf("restore step %d: the checkpoint was made with %s kernels and this worker computes with %s, which gives "+
			"other bits; start it with --kernel %s (or PUPIL_KERNEL)", step, m.Kernel, want.Kernel, m.Kernel)
	}
	if m.CodeVersion != want.CodeVersion {
		t.Logger.Warn("the checkpoint was made by another build, the result may differ", "then", m.CodeVersion, "now", want.CodeVersion)
	}
	if err := state.Restore(train.Snapshot{Step: m.Step, Parts: parts, Meta: m.Meta}); err != nil {
		return fmt.Errorf("restore step %d: %w", step, err)
	}
	return nil
}

// saver writes the trainer's snapshots as checkpoints of the run.
type saver struct {
	bucket   storage.Bucket
	identity checkpoint.Manifest
	keep     int
	session  agent.Session
}

func (s *saver) Save(ctx context.Context, snap train.Snapshot) error {
	m := s.identity
	m.Step, m.Meta = snap.Step, json.RawMessage(snap.Meta)
	if err := checkpoint.Save(ctx, s.bucket, m, snap.Parts); err != nil {
		return err
	}
	if err := checkpoint.Retain(ctx, s.bucket, s.keep); err != nil {
		return err
	}
	s.session.Checkpointed(snap.Step)
	return nil
}

// control passes the loop's progress to the coordinator.
type control struct {
	session agent.Session
	rank    int
}

func (c *control) StopRequested() bool { return c.session.StopRequested() }

func (c *control) Committed(p train.Progress) {
	c.session.SetTimes(p.Step, wire.Times{
		Compute: p.Times.Compute, Wait: p.Times.Input + p.Times.Reduce, Send: 0,
	})
	if c.rank != 0 {
		return
	}
	h := p.Health
	health := map[string]float64{
		"information_share": h.MutualInformation / h.LogClasses, "student_entropy": h.StudentEntropy, "conditional_entropy": h.ConditionalEntropy, "log_classes": h.LogClasses,
		"bias": h.Bias, "used_classes": float64(h.UsedClasses), "teacher_used_classes": float64(h.TeacherUsedClasses),
		"prior_entropy": h.PriorEntropy, "joint_information": h.JointInformation, "accuracy": h.Accuracy,
		"gradient_norm": p.GradientNorm, "saturated": float64(p.Saturated), "skipped": float64(p.Skipped),
	}
	if p.RankMeasured {
		health["effective_rank"] = p.Rank
	}
	for i, t := range p.Terms {
		name := fmt.Sprintf("term.%d.%s", i, t.Name)
		health[name], health[name+".weight"] = t.Value, t.Weight
	}
	c.session.Report(wire.Report{
		Step: p.Step, Total: p.Total, Epoch: p.Epoch, Loss: p.Loss, MutualInformation: h.MutualInformation,
		Images: p.Images, LearningRate: p.LearningRate, Health: health, Seconds: p.Times.Step,
	})
}

// finish tells how training ended; rank 0 also writes the finished student.
func finish(ctx context.Context, run storage.Bucket, j *setup.Job, state *train.State, rank int, o train.Outcome,
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
		if err := writeStudent(ctx, run, j, state); err != nil {
			return agent.Outcome{}, fmt.Errorf("write the student: %w", err)
		}
	}
	return out, nil
}

func writeStudent(ctx context.Context, run storage.Bucket, j *setup.Job, state *train.State) error {
	folder := storage.Prefix(run, wire.StudentFolder)
	config := j.StudentConfig
	config.Provenance = &nn.Provenance{
		Job: j.Spec.Digest(), Dataset: j.Data.Digest(), Teacher: j.TeacherDigest, Step: state.Step, Seed: j.Spec.Seed,
		Average: state.Average != nil, Kernel: kernel.Name(), CodeVersion: version.String(),
	}
	if err := nn.SaveFolder(ctx, folder, j.Student, state.Student(), config); err != nil {
		return err
	}
	if prior := state.ExportPrior(); prior != nil {
		return safetensors.Put(ctx, folder, "prior.safetensors", prior)
	}
	return nil
}
