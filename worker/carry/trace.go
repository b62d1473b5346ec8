package carry

import (
	"sync"
	"time"

	"pupil/internal/tracing"
	"pupil/worker/train"
)

// traces gives the loop the traces of the steps that have one.
func (c *control) traces(t *tracing.Tracer, r tracing.Run) func(step int) train.Trace {
	if t == nil {
		return nil
	}
	return func(step int) train.Trace {
		if !t.Traces(step) {
			return nil
		}
		return &traced{tracer: t, control: c, step: tracing.Step{Run: r, Number: step + 1, Begun: time.Now()}}
	}
}

// traced gathers a step's spans. It is sent when the step has ended, with the place that the worker has then.
type traced struct {
	tracer  *tracing.Tracer
	control *control

	mu   sync.Mutex
	step tracing.Step
}

// Span implements train.Trace.
func (t *traced) Span(s train.Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step.Spans = append(t.step.Spans, tracing.Span(s))
}

// End implements train.Trace.
func (t *traced) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.control.now.Load()
	t.step.Generation, t.step.Rank, t.step.Lanes, t.step.Ended = now.generation, now.rank, now.lanes, time.Now()
	t.tracer.Step(t.step)
}
