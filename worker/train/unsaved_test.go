package train_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pupil/worker/train"
)

// hopeless is a Saver that has given the job up.
type hopeless struct{}

func (hopeless) Save(context.Context, train.Snapshot) error {
	return fmt.Errorf("%w: the bucket is gone", train.ErrUnsaved)
}

// A Saver that gives up ends the training at the next checkpoint, or at the end.
func TestUnsavedEndsTheTraining(t *testing.T) {
	for _, every := range []int{2, 100} {
		w := newWorld(t, 6)
		rings, stop := connect(t.Context(), t, 1)
		defer stop()
		config := w.config(t, 1, &control{})
		config.CheckpointStep = every
		part := alone(rings[0])
		part.Saver = hopeless{}
		state := w.state(t)
		trainer, err := train.New(config, state)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trainer.Run(t.Context(), part)
		if !errors.Is(err, train.ErrUnsaved) || every == 2 && state.Step > 4 || every == 100 && state.Step != 6 {
			t.Errorf("every %d: %v after step %d", every, err, state.Step)
		}
		_ = trainer.Close()
	}
}
