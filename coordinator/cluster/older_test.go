package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/cluster"
)

// raw is what a snapshot says, read without the package: the numbers that a run must not lose.
type raw struct {
	State struct {
		Sequence   uint64
		Generation uint64
		Runs       []struct {
			Run       string
			Phase     cluster.Phase
			Committed int
			Spec      struct{ Lanes int }
			Plan      *cluster.Plan
		}
		Workers []struct{ ID string }
		Events  []json.RawMessage
	}
}

// TestOlderSnapshots reads states that older builds have written, each before something was added to the format, and works on
// with them: nothing that they know is lost, and their runs go on to the end.
func TestOlderSnapshots(t *testing.T) {
	paths, err := filepath.Glob("testdata/older/*.json")
	if err != nil || len(paths) < 6 {
		t.Fatalf("snapshots %q, error %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var was raw
			if err := json.Unmarshal(data, &was); err != nil {
				t.Fatal(err)
			}
			s, err := cluster.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			holdsTo(t, s, was)
			again, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if s, err = cluster.Decode(again); err != nil {
				t.Fatal(err)
			}
			holdsTo(t, s, was)
			goOn(t, s)
		})
	}
}

func holdsTo(t *testing.T, s *cluster.State, was raw) {
	t.Helper()
	w := was.State
	if s.Sequence != w.Sequence || s.Generation != w.Generation || len(s.Events) != len(w.Events) || len(s.Runs) != len(w.Runs) ||
		len(s.Workers) != len(w.Workers) || len(w.Runs) != 2 || len(w.Workers) != 1 {
		t.Errorf("the state is %+v; the file says %+v", s, w)
	}
	for _, r := range w.Runs {
		is := s.Run(r.Run)
		if is == nil || is.Phase != r.Phase || is.Committed != r.Committed || is.Spec.Lanes != r.Spec.Lanes ||
			(is.Plan == nil) != (r.Plan == nil) || r.Plan != nil && is.Plan.Generation != r.Plan.Generation {
			t.Errorf("run %s is %+v; the file says %+v", r.Run, is, r)
		}
	}
	for _, x := range w.Workers {
		if s.Worker(x.ID) == nil {
			t.Errorf("worker %s is gone", x.ID)
		}
	}
}

// goOn lets the run b stop, as it was asked to, then resumes the run a and carries it to its end.
func goOn(t *testing.T, s *cluster.State) {
	t.Helper()
	now := time.Date(2024, 5, 6, 7, 8, 11, 0, time.UTC) // a second after the snapshot
	apply := func(c cluster.Command) {
		t.Helper()
		if err := s.Apply(now, c); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
	}
	settle := func() {
		t.Helper()
		for range 10 {
			d, _ := cluster.Decide(s, now, cluster.DefaultConfig())
			if d.Command == nil {
				return
			}
			apply(d.Command)
		}
		t.Fatal("decisions do not come to an end")
	}
	settle()
	if b := s.Run("b"); b.Phase == cluster.Stopping {
		apply(cluster.Ended{Worker: "w0", Run: "b", Generation: b.Plan.Generation, Outcome: cluster.Stopped, Weights: "bb"})
		settle()
	}
	if p := s.Run("b").Phase; p != cluster.Stopped {
		t.Fatalf("run b is %s: %s", p, s.Run("b").Reason)
	}
	a := s.Run("a")
	generation, committed := s.Generation, a.Committed
	submission := cluster.Submission{Run: "a", Spec: a.Spec, Digest: a.Digest, Storage: a.Storage, MinWorkers: 1, Restore: 8}
	apply(cluster.Resume{Submission: submission})
	apply(cluster.Join{Worker: "w5", Session: "w5-1", Kernel: "avx2"})
	apply(cluster.Lost{Worker: "w0", Reason: "killed"})
	settle()
	a = s.Run("a")
	if a.Phase != cluster.Running || a.Plan.Generation != generation+1 || s.Generation != generation+1 || a.Committed < committed {
		t.Fatalf("resumed, run a is %+v in generation %d, after %d", a, s.Generation, generation)
	}
	if m := a.Plan.Members; len(m) != 1 || m[0].Worker != "w5" || !slices.Equal(m[0].Lanes, []int{0, 1, 2}) {
		t.Errorf("members %+v", m)
	}
	apply(cluster.Began{Worker: "w5", Run: "a", Generation: a.Plan.Generation, Step: 8, From: "checkpoint"})
	apply(cluster.Committed{Run: "a", Generation: a.Plan.Generation, Step: 20})
	apply(cluster.Ended{Worker: "w5", Run: "a", Generation: a.Plan.Generation, Outcome: cluster.Finished, Step: 20, Weights: "aa"})
	settle()
	if a = s.Run("a"); a.Phase != cluster.Finished || a.Committed != 20 || a.Weights != "aa" {
		t.Errorf("at its end run a is %+v", a)
	}
}

// TestNewerSnapshots: what a newer build has added within the version is left out, wherever it stands.
func TestNewerSnapshots(t *testing.T) {
	data, err := goldenState().Encode()
	if err != nil {
		t.Fatal(err)
	}
	more := `"added":{"later":[1,2]},`
	newer := string(data)
	for _, at := range []string{`"sequence":`, `"run":`, `"id":`, `"generation":`} {
		if !strings.Contains(newer, at) {
			t.Fatalf("the snapshot has no %s", at)
		}
		newer = strings.ReplaceAll(newer, at, more+at)
	}
	s, err := cluster.Decode([]byte(newer))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Encode(); err != nil || string(again) != string(data) {
		t.Errorf("error %v; it comes back as\n%s, want\n%s", err, again, data)
	}
}
