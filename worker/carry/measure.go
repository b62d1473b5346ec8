package carry

import (
	"fmt"

	"pupil/internal/metrics"
	"pupil/worker/train"
)

// measure passes a committed step on to the metrics.
func (c *control) measure(p train.Progress, now *place) {
	if c.metrics == nil {
		return
	}
	s := metrics.Step{
		Step: p.Step, Total: p.Total, Epoch: p.Epoch, Images: c.images * now.lanes, Replaced: p.Skipped, Saturated: p.Saturated,
		Seconds: p.Times.Step,
		Input:   p.Times.Input, Teacher: p.Times.Teacher, Forward: p.Times.Forward, Joint: p.Times.Joint,
		Backward: p.Times.Backward, Communication: p.Times.Reduce, Update: p.Times.Update,
		Loss: p.Loss, MutualInformation: p.Health.MutualInformation, LearningRate: p.LearningRate,
		GradientNorm: p.GradientNorm, Accuracy: p.Health.Accuracy, UsedClasses: p.Health.UsedClasses,
		Unsaved: -1, FailedSaves: c.keeper.Failures() + p.Unsaved,
	}
	if now.rank == 0 {
		s.Unsaved = max(0, p.Step-c.keeper.Stored())
	}
	for i, t := range p.Terms {
		s.Terms = append(s.Terms, metrics.Term{Name: fmt.Sprintf("%d.%s", i, t.Name), Value: t.Value, Weight: t.Weight})
	}
	c.metrics.Committed(s)
	r := now.session.Ring().Stats()
	c.metrics.Ring(metrics.Ring{
		Generation: now.generation, SentBytes: r.SentBytes, ReceivedBytes: r.ReceivedBytes, Asked: r.Asked, Resent: r.Resent,
		Duplicates: r.Duplicates, Corrupt: r.Corrupt, Stale: r.Stale, Dropped: r.Dropped,
	})
}
