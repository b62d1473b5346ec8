package train_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/allreduce"
	"pupil/worker/feed"
	"pupil/worker/optim"
	"pupil/worker/train"
)

func newWorld16(t *testing.T, steps int) *world {
	w := newWorld(t, steps)
	w.wire = allreduce.Fixed16
	w.optimizer = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	return w
}

// feedback is what a checkpoint has of the lanes' error feedback.
func feedback(t *testing.T, s *train.Snapshot) []byte {
	t.Helper()
	data, err := s.Parts[train.PartFeedback].Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// With sums of 16 bits, as with 32: the same bits for any plan, and after a resume; the error feedback of all lanes is
// in the checkpoint, whoever carried them.
func TestWire16(t *testing.T) {
	w := newWorld16(t, 5)
	states, saved := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)
	want, rest := digest(t, states[0]), feedback(t, saved.last)
	if !bytes.ContainsFunc(rest[len(rest)/2:], func(r rune) bool { return r != 0 }) {
		t.Error("there is no error feedback")
	}
	for _, plan := range [][][]int{{{2, 0}, {1}}, {{1}, {2}, {0}}, {{}, {0, 1, 2}}} {
		states, saved := w.cluster(t, plan, 2, 0, nil)
		for rank, s := range states {
			if d := digest(t, s); d != want {
				t.Errorf("plan %v, rank %d: weights %.16s, want %.16s", plan, rank, d, want)
			}
		}
		if !bytes.Equal(feedback(t, saved.last), rest) {
			t.Errorf("plan %v: another error feedback", plan)
		}
	}
	for _, stop := range []int{1, 4} {
		_, saved := w.cluster(t, [][]int{{0}, {1, 2}}, 2, stop, nil)
		resumed, again := w.cluster(t, [][]int{{2}, {1}, {0}}, 1, 0, saved.last)
		if d := digest(t, resumed[1]); d != want {
			t.Errorf("stopped after step %d and resumed: weights %.16s, want %.16s", stop, d, want)
		}
		if !bytes.Equal(feedback(t, again.last), rest) {
			t.Errorf("stopped after step %d and resumed: another error feedback", stop)
		}
	}
	for _, w.bucket = range []int{1, 1 << 30} { // each tensor on its own, or all together
		if states, _ := w.cluster(t, [][]int{{0}, {1, 2}}, 2, 0, nil); digest(t, states[1]) != want {
			t.Errorf("buckets of %d bytes: other weights", w.bucket)
		}
	}
	w.wire = allreduce.Fixed32
	if states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil); digest(t, states[0]) == want {
		t.Error("sums of 32 bits give the same weights")
	}
}

// interrupted trains with a plan until before a step, at which all workers end at once, and returns their states.
func (w *world) interrupted(t *testing.T, plan [][]int, before int) []*train.State {
	t.Helper()
	rings, stop := connect(t.Context(), t, len(plan))
	defer stop()
	enough := errors.New("enough")
	var all, workers sync.WaitGroup
	all.Add(len(plan))
	states := make([]*train.State, len(plan))
	for rank, carried := range plan {
		states[rank] = w.state(t)
		c := w.config(t, 1, &control{})
		part := train.Part{Carried: carried, Rank: rank, Size: len(plan), Reducer: rings[rank], Saved: -1}
		var once sync.Once
		c.Source.(*source).spoil = func(b *feed.Batch) error {
			if b.Step < before {
				return nil
			}
			once.Do(all.Done)
			all.Wait() // all have committed the step before
			return enough
		}
		trainer, err := train.New(c, states[rank])
		if err != nil {
			t.Fatal(err)
		}
		defer trainer.Close()
		workers.Go(func() {
			if _, err := trainer.Run(t.Context(), part); !errors.Is(err, enough) && !errors.Is(err, allreduce.ErrAborted) {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	workers.Wait()
	for rank, s := range states {
		if s.Step != before {
			t.Fatalf("rank %d is after step %d, want %d", rank, s.Step, before)
		}
	}
	return states
}

// each runs a function for every ring at the same time.
func each(t *testing.T, rings []*allreduce.Ring, f func(ctx context.Context, rank int, r *allreduce.Ring) error) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := make([]error, len(rings))
	var all sync.WaitGroup
	for rank, r := range rings {
		all.Go(func() { errs[rank] = f(ctx, rank, r) })
	}
	all.Wait()
	return errs
}

// Lanes move to other workers, and to one that joins, with their error feedback: the same bits as without a move.
func TestFeedbackMoves(t *testing.T) {
	w := newWorld16(t, 5)
	states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)
	want := digest(t, states[0])

	states = w.interrupted(t, [][]int{{0}, {1, 2}}, 3)
	if missing := states[0].Feedback.Missing([]int{0, 1, 2}); !slices.Equal(missing, []int{1, 2}) {
		t.Errorf("rank 0 lacks the error feedback of lanes %v", missing)
	}
	snapshot, err := states[1].Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := states[1].Checkpoint(); err == nil || !strings.Contains(err.Error(), "lane 0") {
		t.Errorf("a checkpoint without the error feedback of lane 0: error %v", err)
	}
	joiner := w.state(t)
	if err := joiner.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	states = append(states, joiner)
	rings, stop := connect(t.Context(), t, len(states))
	defer stop()
	plan := [][]int{{2}, {0}, {1}}
	for rank, err := range each(t, rings, func(ctx context.Context, rank int, r *allreduce.Ring) error {
		trainer, err := train.New(w.config(t, 1, &control{}), states[rank])
		if err != nil {
			return err
		}
		defer trainer.Close()
		_, err = trainer.Run(ctx, train.Part{Carried: plan[rank], Rank: rank, Size: len(plan), Reducer: r, Saved: -1})
		return err
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", rank, err)
		} else if d := digest(t, states[rank]); d != want {
			t.Errorf("rank %d: weights %.16s, want %.16s", rank, d, want)
		}
	}
}

// The error feedback of a worker that has died is lost, and all survivors say so.
func TestFeedbackLost(t *testing.T) {
	w := newWorld16(t, 3)
	states := w.interrupted(t, [][]int{{0}, {1}, {2}}, 1)
	survivors := []*train.State{states[0], states[2]}
	rings, stop := connect(t.Context(), t, len(survivors))
	defer stop()
	for rank, err := range each(t, rings, func(ctx context.Context, rank int, r *allreduce.Ring) error {
		return survivors[rank].GatherFeedback(ctx, r, 0)
	}) {
		var lost *train.LostFeedbackError
		if !errors.As(err, &lost) || !slices.Equal(lost.Lanes, []int{1}) {
			t.Errorf("survivor %d: error %v", rank, err)
		}
	}
}
