package cluster_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
)

// TestNotices tells operators of what a run goes on from: checkpoints that are passed over, and what workers notice.
func TestNotices(t *testing.T) {
	s, at := cluster.New(), time.Unix(1e9, 0)
	must := func(c cluster.Command) {
		t.Helper()
		if err := s.Apply(at, c); err != nil {
			t.Fatal(err)
		}
	}
	sub := cluster.Submission{
		Run: "r", Spec: &job.Spec{Lanes: 1}, Digest: "d", MinWorkers: 1, Restore: 10, Passed: []string{"checkpoint of step 20 is not used: torn"},
	}
	must(cluster.Submit{Submission: sub})
	must(cluster.Join{Worker: "w0", Session: "s", Host: "h", PID: 1, Threads: 1, Kernel: "avx2"})
	must(cluster.Planned{Run: "r", Plan: cluster.Plan{Generation: 1, Members: []cluster.Member{{Worker: "w0", Lanes: []int{0}}}}})
	fails := cluster.Noticed{Worker: "w0", Run: "r", Generation: 1, Text: "the checkpoint could not be saved"}
	must(fails)
	must(fails) // a message may come twice
	must(cluster.Noticed{Worker: "w0", Run: "r", Generation: 1, Text: "the storage takes checkpoints again"})
	for _, c := range []cluster.Noticed{
		{Worker: "w0", Run: "r", Generation: 2, Text: "x"},
		{Worker: "w1", Run: "r", Generation: 1, Text: "x"},
		{Worker: "w0", Run: "none", Generation: 1, Text: "x"},
		{Worker: "w0", Run: "r", Generation: 1},
	} {
		if err := s.Apply(at, c); !errors.Is(err, cluster.ErrStale) && !errors.Is(err, cluster.ErrUnknown) && !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var texts []string
	for _, e := range s.Events {
		texts = append(texts, e.Text)
	}
	for text, times := range map[string]int{sub.Passed[0]: 1, fails.Text: 1, "the storage takes checkpoints again": 1, "x": 0} {
		n := 0
		for _, got := range texts {
			if got == text {
				n++
			}
		}
		if n != times {
			t.Errorf("%q is %d times among %q, want %d", text, n, texts, times)
		}
	}
	if s.Run("r").Passed != nil || !slices.Contains(texts, "submitted") {
		t.Errorf("the run keeps %q; events %q", s.Run("r").Passed, texts)
	}
}
