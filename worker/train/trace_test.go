package train_test

import (
	"slices"
	"sync"
	"testing"

	"pupil/worker/train"
)

// spans gathers those of one step on one worker.
type spans struct {
	mu    sync.Mutex
	all   []train.Span
	ended int
}

func (s *spans) Span(x train.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
}

func (s *spans) End() { s.ended++ }

// A trace has each phase of each lane and each bucket once, and changes no bit.
func TestTrace(t *testing.T) {
	const steps = 4
	w := newWorld(t, steps)
	w.bucket = 4 << 10
	quiet, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)

	var mu sync.Mutex
	traces := map[int][]*spans{}
	w.trace = func(step int) train.Trace {
		if step%2 != 0 {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		s := &spans{}
		traces[step] = append(traces[step], s)
		return s
	}
	states, _ := w.cluster(t, [][]int{{2, 0}, {1}}, 2, 0, nil)
	if got, want := digest(t, states[0]), digest(t, quiet[0]); got != want {
		t.Errorf("weights %.16s, without a trace %.16s", got, want)
	}
	if len(traces) != 2 || len(traces[0]) != 2 || len(traces[2]) != 2 {
		t.Fatalf("traces of the steps %v; want two of 0 and of 2", traces)
	}
	for step, both := range traces {
		phases, worker := map[string][]int{}, map[string]int{}
		for _, s := range both {
			if s.ended != 1 {
				t.Errorf("step %d: a trace ended %d times", step, s.ended)
			}
			buckets := []int{}
			for _, x := range s.all {
				if x.Begun.IsZero() || x.Ended.Before(x.Begun) {
					t.Errorf("step %d: %s from %v to %v", step, x.Name, x.Begun, x.Ended)
				}
				if x.Lane >= 0 {
					phases[x.Name] = append(phases[x.Name], x.Lane)
					continue
				}
				worker[x.Name]++
				if x.Name == "all-reduce" {
					buckets = append(buckets, x.Bucket)
				}
				if (x.Name == "all-reduce" || x.Name == "sum") && x.Bytes <= 0 {
					t.Errorf("step %d: %s of %d bytes", step, x.Name, x.Bytes)
				}
			}
			slices.Sort(buckets)
			for i, b := range buckets {
				if b != i {
					t.Fatalf("step %d: all-reduce of the buckets %v", step, buckets)
				}
			}
			if len(buckets) < 3 {
				t.Errorf("step %d: %d buckets", step, len(buckets))
			}
		}
		for _, name := range []string{"input", "teacher", "forward", "loss", "backward"} {
			slices.Sort(phases[name])
			if !slices.Equal(phases[name], []int{0, 1, 2}) {
				t.Errorf("step %d: %s of the lanes %v", step, name, phases[name])
			}
		}
		if worker["update"] != 2 || worker["commit"] != 2 || worker["sum"] < 2 {
			t.Errorf("step %d: %v", step, worker)
		}
	}
}

// The worker that saves copies the state.
func TestTraceOfCheckpoint(t *testing.T) {
	w := newWorld(t, 2)
	copies := map[int]int{}
	w.trace = func(step int) train.Trace {
		return onSpan(func(x train.Span) {
			if x.Name == "checkpoint copy" {
				copies[step]++
			}
		})
	}
	if _, saved := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil); saved.last == nil || copies[0] != 0 || copies[1] != 1 {
		t.Errorf("copies by step: %v; want one, of the last", copies)
	}
}

type onSpan func(train.Span)

func (f onSpan) Span(x train.Span) {
	if x.Lane < 0 && x.Bucket < 0 {
		f(x)
	}
}
func (onSpan) End() {}
