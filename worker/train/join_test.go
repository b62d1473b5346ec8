package train_test

import (
	"testing"
	"time"

	"pupil/worker/train"
)

// A worker that joins holds nobody up: while it waits for its state the others compute their lanes of the next step. Its graphs
// were there before.
func TestJoinerHoldsNobodyUp(t *testing.T) {
	w := elasticWorld(t)
	want := w.quiet(t)
	s := newScene(t, w, 2, 1)
	s.members[0].yield = true
	if outcome := s.generation(); outcome != train.Yielded {
		t.Fatalf("outcome %v", outcome)
	}
	joiner := s.join()
	if err := joiner.trainer.Prepare(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.members {
		m.lanes = nil
	}
	begun := make(chan struct{}, lanes*w.steps)
	s.flip = func(m *member, _ int) {
		if m != joiner {
			begun <- struct{}{}
		}
	}
	asked := false
	s.asking = func() {
		asked = true
		late := time.After(time.Minute)
		for range lanes - 1 {
			select {
			case <-begun:
			case <-late:
				t.Error("the others wait until the joiner has its state")
				return
			}
		}
	}
	if outcome := s.generation(); outcome != train.Finished {
		t.Fatalf("outcome %v", outcome)
	}
	if !asked {
		t.Error("the joiner has taken no state")
	}
	s.ended(want)
}
