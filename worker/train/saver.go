package train

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// saver writes checkpoints beside the training, one at a time. One that cannot be written does not end the training: it
// is tried again some steps later, and what counts is the last.
type saver struct {
	to      Saver // nil: another worker saves
	saved   int   // step of the newest checkpoint that all workers know of
	running chan error

	failures int   // in a row
	failed   int   // steps that were committed when the last one failed
	total    int   // failures of this worker
	fatal    error // ErrUnsaved: training is to end
}

// begin sets who keeps the checkpoints of a generation, and the newest one that all its workers know of. One that is
// being written is not disturbed.
func (s *saver) begin(to Saver, saved int) { s.to, s.saved = to, max(0, saved) }

// due says whether the state after a step is to be saved: every so many steps, or at once if the worker that should
// have saved before has gone without it. All workers of a generation say the same.
func (s *saver) due(done, every int) bool {
	return every > 0 && (done%every == 0 || done-s.saved >= every)
}

// again says that a checkpoint has failed, and that another one is to be tried after a step: after 1, 2, 4, ... steps.
// Only the worker that saves knows of it.
func (s *saver) again(done int) bool {
	s.collect(done)
	return s.to != nil && s.failures > 0 && done-s.failed >= 1<<min(s.failures-1, 10)
}

// collect takes the end of a save, if there is one.
func (s *saver) collect(done int) {
	select {
	case err := <-s.running: // nil blocks for ever
		s.ended(done, err)
	default:
	}
}

func (s *saver) ended(done int, err error) {
	s.running = nil
	if err == nil {
		s.failures = 0
		return
	}
	s.failures, s.failed, s.total = s.failures+1, done, s.total+1
	if errors.Is(err, ErrUnsaved) {
		s.fatal = fmt.Errorf("save checkpoint: %w", err)
	}
}

// save copies the state and starts to write it, after the one before has ended.
func (s *saver) save(ctx context.Context, state *State) error {
	s.saved = state.Step
	if s.to == nil {
		return nil
	}
	_ = s.wait(state.Step) // this one takes its place
	if s.fatal != nil {
		return s.fatal
	}
	snapshot, err := state.Checkpoint()
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", state.Step, err)
	}
	to, running := s.to, make(chan error, 1)
	s.running = running
	go func() { running <- to.Save(ctx, snapshot) }()
	return nil
}

// wait returns when no save is under way, with the last one's error.
func (s *saver) wait(done int) error {
	if s.running == nil {
		return nil
	}
	err := <-s.running
	s.ended(done, err)
	if err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// finish returns when the state is saved, which it tries some times with more and more time in between, until ctx ends.
func (s *saver) finish(ctx, living context.Context, state *State) error {
	const tries, first = 5, time.Second
	for pause, try := first, 1; ; pause, try = 2*pause, try+1 {
		err := s.wait(state.Step)
		if err == nil || try == tries || s.fatal != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		if err := s.save(living, state); err != nil {
			return err
		}
	}
}
