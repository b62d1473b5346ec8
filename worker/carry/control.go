package carry

import (
	"fmt"
	"sync/atomic"
	"time"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/internal/metrics"
	"pupil/worker/agent"
	"pupil/worker/train"
)

// control passes the loop's progress to the coordinator, through the session of the newest generation.
type control struct {
	now    atomic.Pointer[place]
	keeper *Keeper

	metrics *metrics.Worker // nil: none
	images  int             // of a lane's step
	painter painter         // of Committed's goroutine
}

// place is this worker's in a generation.
type place struct {
	session agent.Session
	rank    int

	lanes      int // that this worker carries
	generation uint64
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
	c.metrics.Began(string(from))
	if p := c.now.Load(); p.rank == 0 || from != train.FromItself {
		p.session.Began(step, string(from))
	}
}

func (c *control) Committed(p train.Progress) {
	c.keeper.Measured(measured(p))
	now := c.now.Load()
	c.measure(p, now)
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
		"prior_entropy": h.PriorEntropy, "joint_information": h.JointInformation,
		"gradient_norm": p.GradientNorm, "saturated": float64(p.Saturated), "skipped": float64(p.Skipped),
		"input_seconds": p.Times.Input,
	}
	if failed := c.keeper.Failures() + p.Unsaved; failed > 0 {
		health["failed_checkpoints"] = float64(failed)
	}
	if h.Labelled > 0 {
		health["accuracy"] = h.Accuracy
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
	if c.painter.due(p, time.Now()) {
		now.session.Draw(distributions(p))
	}
}

// measured is what checkpoints are compared by (checkpoint.metric), as far as there is something to measure.
func measured(p train.Progress) map[string]float64 {
	out := map[string]float64{job.MetricLoss: p.Loss}
	if p.Health.Measured {
		out[job.MetricInformation] = p.Health.MutualInformation
	}
	if p.Health.Labelled > 0 {
		out[job.MetricAccuracy] = p.Health.Accuracy
	}
	if p.RankMeasured {
		out[job.MetricRank] = p.Rank
	}
	return out
}
