package carry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/worker/agent"
	"pupil/worker/train"
)

// saver writes the trainer's snapshots as checkpoints of the run.
type saver struct {
	bucket   storage.Bucket
	identity checkpoint.Manifest
	keep     int
	control  *control
	logger   *slog.Logger
}

func (s *saver) Save(ctx context.Context, snap train.Snapshot) error {
	m := s.identity
	m.Step, m.Meta = snap.Step, json.RawMessage(snap.Meta)
	if err := checkpoint.Save(ctx, s.bucket, m, snap.Parts); err != nil {
		s.logger.Error("a checkpoint could not be saved; it is tried again", "step", snap.Step, "err", err)
		return err
	}
	if err := checkpoint.Retain(ctx, s.bucket, s.keep); err != nil { // the next one tries again
		s.logger.Warn("old checkpoints could not be removed", "step", snap.Step, "err", err)
	}
	s.control.now.Load().session.Checkpointed(snap.Step)
	return nil
}

// control passes the loop's progress to the coordinator, through the session of the newest generation.
type control struct{ now atomic.Pointer[place] }

// place is this worker's in a generation.
type place struct {
	session agent.Session
	rank    int
}

func (c *control) Requested() train.Request {
	switch c.now.Load().session.Requested() {
	case agent.Stop:
		return train.Stop
	case agent.Pause:
		return train.Yield
	}
	return train.GoOn
}

func (c *control) Began(step int, from train.Origin) {
	if p := c.now.Load(); p.rank == 0 || from != train.FromItself {
		p.session.Began(step, string(from))
	}
}

func (c *control) Committed(p train.Progress) {
	now := c.now.Load()
	ring, _ := now.session.Ring().Times()
	now.session.SetTimes(p.Step, wire.Times{
		Compute: p.Times.Compute, Wait: p.Times.Input + p.Times.Reduce, Send: ring.Send.Seconds(),
		Exchange: p.Times.Exchange, Exposed: p.Times.Exposed,
		Left: ring.Wait.Seconds(), Behind: ring.Behind.Seconds(), Add: ring.Add.Seconds(),
	})
	if now.rank != 0 {
		return
	}
	h := p.Health
	health := map[string]float64{
		"information_share": h.MutualInformation / h.LogClasses, "student_entropy": h.StudentEntropy, "conditional_entropy": h.ConditionalEntropy, "log_classes": h.LogClasses,
		"bias": h.Bias, "used_classes": float64(h.UsedClasses), "teacher_used_classes": float64(h.TeacherUsedClasses),
		"prior_entropy": h.PriorEntropy, "joint_information": h.JointInformation, "accuracy": h.Accuracy,
		"gradient_norm": p.GradientNorm, "saturated": float64(p.Saturated), "skipped": float64(p.Skipped),
	}
	if p.Unsaved > 0 {
		health["failed_checkpoints"] = float64(p.Unsaved)
	}
	if p.RankMeasured {
		health["effective_rank"] = p.Rank
	}
	for i, t := range p.Terms {
		name := fmt.Sprintf("term.%d.%s", i, t.Name)
		health[name], health[name+".weight"] = t.Value, t.Weight
	}
	now.session.Report(wire.Report{
		Step: p.Step, Total: p.Total, Epoch: p.Epoch, Loss: p.Loss, MutualInformation: h.MutualInformation,
		Images: p.Images, LearningRate: p.LearningRate, Health: health, Seconds: p.Times.Step,
	})
}
