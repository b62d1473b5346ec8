package chaos

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// progress tells how far a run is, from time to time: it may take an hour.
type progress struct {
	name    string       // of the run
	planned int          // faults
	total   atomic.Int64 // steps; 0: not known yet
}

// progressEvery is the time between two lines.
const progressEvery = 30 * time.Second

// tell says a line from time to time until ctx ends.
func (p *progress) tell(ctx context.Context, t *timeline, in *injector, say func(string)) {
	if t.await(ctx, 1) != nil {
		return
	}
	begin := time.Now()
	first, _ := t.now()
	for pause(ctx, progressEvery) == nil {
		step, _ := t.now()
		say(p.line(step, step-first, len(in.list()), time.Since(begin)))
	}
}

// line is for steps that were made in a time.
func (p *progress) line(step, made, faults int, took time.Duration) string {
	text := fmt.Sprintf("%s: step %d", p.name, step)
	total := int(p.total.Load())
	if total > 0 {
		text += fmt.Sprintf(" of %d", total)
	}
	if p.planned > 0 {
		text += fmt.Sprintf(", %d of %d faults", faults, p.planned)
	}
	if total > 0 && made > 0 {
		left := time.Duration(float64(total-step) * took.Seconds() / float64(made) * float64(time.Second))
		text += fmt.Sprintf(", about %s to go", left.Round(time.Second))
	}
	return text
}
