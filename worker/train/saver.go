package train

import (
	"context"
	"fmt"
)

// saver writes checkpoints beside the training, one at a time.
type saver struct {
	to      Saver // nil: another worker saves
	saved   int   // step of the newest checkpoint that all workers know of
	running chan error
}

// begin sets who keeps the checkpoints of a generation, and the newest one that all its workers know of. One that is
// being written is not disturbed.
func (s *saver) begin(to Saver, saved int) { s.to, s.saved = to, max(0, saved) }

// due says whether the state after a step is to be saved: every so many steps, or at once if the worker that should
// have saved before has gone without it. All workers of a generation say the same.
func (s *saver) due(done, every int) bool {
	return every > 0 && (done%every == 0 || done-s.saved >= every)
}

// save copies the state and starts to write it, after the one before has ended.
func (s *saver) save(ctx context.Context, state *State) error {
	s.saved = state.Step
	if s.to == nil {
		return nil
	}
	if err := s.wait(); err != nil {
		return err
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
func (s *saver) wait() error {
	if s.running == nil {
		return nil
	}
	err := <-s.running
	s.running = nil
	if err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}
