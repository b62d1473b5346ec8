package train

import (
	"context"
	"fmt"
)

// saver writes checkpoints beside the training, one at a time.
type saver struct {
	to      Saver
	running chan error // of the save under way; nil: none
}

func newSaver(to Saver) *saver { return &saver{to: to} }

// save copies the state and starts to write it, after the one before has ended.
func (s *saver) save(ctx context.Context, state *State) error {
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
	running := make(chan error, 1)
	s.running = running
	go func() { running <- s.to.Save(ctx, snapshot) }()
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
