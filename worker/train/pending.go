package train

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pupil/loss"
)

// pending is a step that is being computed. It may begin in one generation and end in a later one: its lanes compute
// and wait for sums meanwhile.
type pending struct {
	number   int
	begun    time.Time
	computed time.Time // when the last lane had ended
	skipped  int       // broken images that were replaced, on all workers
	complete bool      // all sums are there; what is missing is the word that all workers have them

	ctx    context.Context // of the lanes
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	started   []int // lanes; idleLane for that of a worker without any
	running   int
	elsewhere error         // another worker's lane is at fault, see taskGroup
	ended     chan struct{} // closed when none is running
}

// idleLane stands for a worker without lanes in the loss's sums.
const idleLane = -1

func newPending(ctx context.Context, number int) *pending {
	p := &pending{number: number, begun: time.Now(), ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	close(p.ended)
	return p
}

// start lets a lane compute its part of the step, unless it has begun to.
func (p *pending) start(lane int, f func(ctx context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.started, lane) {
		return
	}
	p.started = append(p.started, lane)
	if p.running == 0 {
		p.ended = make(chan struct{})
	}
	p.running++
	go p.compute(f)
}

// compute is a lane's goroutine. Its end is waited for in wait, and in discard.
func (p *pending) compute(f func(ctx context.Context) error) {
	err := f(p.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, loss.ErrElsewhere): // that worker's own error tells more
		p.elsewhere = err
	default:
		p.cancel(err)
	}
	p.running--
	if p.running == 0 {
		close(p.ended)
	}
}

// wait returns when all lanes have ended, with the first error of one, or when ctx ends; then the lanes go on.
func (p *pending) wait(ctx context.Context) error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.elsewhere
}

var errDiscarded = errors.New("the step is given up")

// discard gives the step up, and returns when all its lanes have ended.
func (p *pending) discard() {
	p.cancel(errDiscarded)
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	<-ended
}

// continues says whether the lanes that have begun are among those carried, so that the step can go on.
func (p *pending) continues(carried []int) bool {
	for _, l := range p.started {
		if !slices.Contains(carried, l) {
			return false
		}
	}
	return true
}
