package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/wire"
)

// timeline notes when each step was committed: from the reports that workers send, as far as a broker carries them, and from what
// the workers record of their feeding, which they do also while no coordinator and no broker lives.
type timeline struct {
	nc *nats.Conn

	mu     sync.Mutex
	steps  []commit
	newest int           // step
	reach  uint64        // generation that has reported last
	lost   int           // steps that a generation made again
	moved  chan struct{} // closed and replaced with each new step
}

// commit is a step that was not seen before.
type commit struct {
	step int
	at   time.Time
}

// follow listens to a run's reports.
func follow(s *site, run string) (*timeline, error) {
	t := &timeline{moved: make(chan struct{})}
	nc, err := nats.Connect(urls(s.brokers), nats.UserInfo("coordinator", s.credentials.Coordinator),
		nats.Name("chaos"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("listen to the steps: %w", err)
	}
	t.nc = nc
	if _, err := nc.Subscribe(wire.WorkerSubjects, func(m *nats.Msg) { t.take(m, run) }); err != nil {
		nc.Close()
		return nil, fmt.Errorf("listen to the steps: %w", err)
	}
	return t, nil
}

func (t *timeline) close() { t.nc.Close() }

// take notes a report; other messages are not for it.
func (t *timeline) take(m *nats.Msg, run string) {
	r, err := wire.As[wire.Report](m.Data)
	if err != nil || r.Run != run {
		return
	}
	t.add(r.Generation, r.Step, time.Now())
}

// add notes a step. A generation that begins below what was reported makes steps again: they were lost. Not so the newest
// one alone: the worker that reported it may have died before another had committed it as well.
func (t *timeline) add(generation uint64, step int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation > t.reach {
		t.lost += max(0, t.newest-step)
		t.reach = generation
	}
	if step <= t.newest {
		return
	}
	t.note(step, at)
}

// seen notes that a step was committed, whichever generation it was of.
func (t *timeline) seen(step int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if step > t.newest {
		t.note(step, at)
	}
}

func (t *timeline) note(step int, at time.Time) {
	t.newest = step
	t.steps = append(t.steps, commit{step, at})
	close(t.moved)
	t.moved = make(chan struct{})
}

// now returns the newest step, and a channel that is closed when there is a newer one.
func (t *timeline) now() (step int, moved <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest, t.moved
}

// await waits until a step was committed, or ctx ends.
func (t *timeline) await(ctx context.Context, step int) error {
	for {
		newest, moved := t.now()
		if newest >= step {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// commits returns what was noted: each step when it was committed first, and how many were made again.
func (t *timeline) commits() (steps []commit, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]commit(nil), t.steps...), t.lost
}
