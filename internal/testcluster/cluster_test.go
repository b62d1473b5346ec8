package testcluster_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/testcluster"
)

// status is what the tests read of `coordinator status --json`.
type status struct {
	Leader string `json:"leader"`
	Runs   []struct {
		Run         string `json:"run"`
		Phase       string `json:"phase"`
		Reason      string `json:"reason"`
		Step        int    `json:"step"`
		Generation  int    `json:"generation"`
		Checkpoints []int  `json:"checkpoints"`
		Weights     string `json:"weights_sha256"`
	} `json:"runs"`
	Workers []struct {
		ID string `json:"id"`
	} `json:"workers"`
}

// until follows the cluster until ok.
func until(t *testing.T, c *testcluster.Cluster, ok func(status) bool) status {
	t.Helper()
	var s status
	c.Watch(func(line []byte) bool {
		s = status{}
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		return ok(s)
	})
	return s
}

// TestCoordinatorsKilled kills the leader in mid-run, and later all coordinators at once; they come back with their
// folders. The run ends with the same weights, in its first generation: no worker has noticed anything, no step was lost.
func TestCoordinatorsKilled(t *testing.T) {
	const steps = "60"
	settings := []string{
		"--set", "steps=" + steps, "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=",
		"--set", "checkpoint.every=10",
	}
	want := quiet(t, settings...)

	c := testcluster.StartCluster(t, 3)
	record := t.TempDir()
	for _, id := range []string{"w0", "w1"} {
		c.StartWorker(id, "--record", record)
	}
	var run struct{ Phase, Storage string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "2"}, settings...)...)
	leader := until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 5 }).Leader
	for _, n := range c.Nodes {
		if n.Name == leader {
			n.Kill()
		}
	}
	s := until(t, c, func(s status) bool { return s.Leader != leader && s.Runs[0].Step >= 10 })
	if s.Runs[0].Generation != 1 || len(s.Workers) != 2 {
		t.Errorf("after the leader's death: %+v", s)
	}

	before := s.Runs[0].Step
	for _, n := range c.Nodes {
		n.Kill()
	}
	for i := range c.Nodes {
		c.StartNode(i)
	}
	s = until(t, c, func(s status) bool { return s.Runs[0].Step > before })
	if s.Runs[0].Phase != "running" && s.Runs[0].Phase != "finished" {
		t.Errorf("after the death of all coordinators: %+v", s)
	}
	s = until(t, c, func(s status) bool { return s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || r.Generation != 1 || r.Weights != want {
		t.Errorf("the run ended so: %+v; want the weights %s", r, want)
	}

	var audit struct {
		ExactlyOnce bool  `json:"exactly_once"`
		Gapless     bool  `json:"gapless"`
		Committed   int   `json:"committed_steps"`
		Missing     []any `json:"missing"`
		Repeated    []any `json:"repeated"`
		Fed         struct {
			Agrees  bool `json:"agrees"`
			Records int  `json:"records"`
		} `json:"fed"`
	}
	c.JSON(&audit, "audit", "one", "--record", record)
	if !audit.ExactlyOnce || !audit.Gapless || !audit.Fed.Agrees || audit.Committed != 60 || audit.Fed.Records != 60*8 {
		t.Errorf("audit %+v", audit)
	}
	// Leaders hand over when they are asked to end.
	s = until(t, c, func(s status) bool { return s.Leader != "" })
	for _, n := range c.Nodes {
		if n.Name == s.Leader {
			if err := n.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := n.Wait(); code != 0 {
				t.Errorf("after SIGTERM: exit code %d\n%s", code, n.Text())
			}
			expect(t, n.Text(), "leads no more|this coordinator leads")
		}
	}
	if out, messages, code := c.Do("list"); code != 0 {
		t.Errorf("list after that: exit code %d\n%s%s", code, out, messages)
	}
}

// TestWorkersComeAndGo kills a worker of a run, lets another one join and the first one leave. The weights are those of the
// quiet run, no step is lost, and the samples that were fed are those that the ledger says.
func TestWorkersComeAndGo(t *testing.T) {
	settings := []string{
		"--set", "steps=120", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=100",
	}
	want := testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...)

	c := testcluster.StartCluster(t, 1)
	record := t.TempDir()
	first, second := c.StartWorker("w0", "--record", record), c.StartWorker("w1", "--record", record)
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--workers", "2"}, settings...)...)
	until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 5 })
	second.Kill()
	s := until(t, c, func(s status) bool { return s.Runs[0].Generation == 2 && s.Runs[0].Step >= 8 })
	if len(s.Workers) != 1 {
		t.Errorf("after a worker's death: %+v", s)
	}
	third := c.StartWorker("w2", "--record", record)
	until(t, c, func(s status) bool { return s.Runs[0].Generation == 3 && s.Runs[0].Step >= 14 })
	if !strings.Contains(third.Text(), "msg=preparing") {
		t.Errorf("the third worker was taken in before it was prepared:\n%s", third.Text())
	}
	if err := first.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := first.Wait(); code != 0 {
		t.Errorf("a worker that was asked to leave: exit code %d\n%s", code, first.Text())
	}
	s = until(t, c, func(s status) bool { return s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || r.Generation != 4 || r.Step != 120 || r.Weights != want.WeightsSHA256 {
		t.Errorf("the run ended so: %+v; want the weights %s in generation 4", r, want.WeightsSHA256)
	}
	var audit struct {
		ExactlyOnce bool  `json:"exactly_once"`
		Gapless     bool  `json:"gapless"`
		Committed   int   `json:"committed_steps"`
		Spans       []any `json:"spans"`
		Fed         struct {
			Agrees bool `json:"agrees"`
		} `json:"fed"`
	}
	c.JSON(&audit, "audit", "one", "--record", record)
	if !audit.ExactlyOnce || !audit.Gapless || !audit.Fed.Agrees || audit.Committed != 120 || len(audit.Spans) != 4 {
		t.Errorf("audit %+v", audit)
	}
}

// TestSideBySide: two runs at a time, each on a worker of its own, end with the weights that they have one after the other.
func TestSideBySide(t *testing.T) {
	settings := []string{"--set", "steps=80", "--set", "batch=32", "--set", "student.width=0.25", "--set", "dataset.test="}
	other := append(slices.Clone(settings), "--set", "seed=2", "--set", "steps=20")
	want := map[string]string{}
	for run, settings := range map[string][]string{"one": settings, "two": other} {
		want[run] = testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...).WeightsSHA256
	}
	if want["one"] == want["two"] {
		t.Fatal("they are the same")
	}
	c := testcluster.StartCluster(t, 1)
	c.StartWorker("w0")
	c.StartWorker("w1")
	until(t, c, func(s status) bool { return len(s.Workers) == 2 })
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--max-workers", "1"}, settings...)...)
	c.JSON(&run, append([]string{"submit", demo, "--run", "two", "--max-workers", "1"}, other...)...)
	together := false
	s := until(t, c, func(s status) bool {
		running, over := 0, 0
		for _, r := range s.Runs {
			switch r.Phase {
			case "running":
				running++
			case "finished", "failed", "stopped":
				over++
			}
		}
		together = together || running == 2
		return over == 2
	})
	if !together {
		events, _, _ := c.Do("events")
		t.Errorf("the runs were never carried at the same time:\n%s", events)
	}
	for _, r := range s.Runs {
		if r.Phase != "finished" || r.Weights != want[r.Run] {
			t.Errorf("%+v; want the weights %s", r, want[r.Run])
		}
	}
}

// TestClusterUse: what is asked in a wrong way gets an answer that says so.
func TestClusterUse(t *testing.T) {
	c := testcluster.StartCluster(t, 1)
	for _, x := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{"status", "gone"}, 2, "no run gone.*coordinator list"},
		{[]string{"cancel", "gone"}, 2, "no run gone"},
		{[]string{"audit", "gone"}, 2, "no run gone"},
		{[]string{"events", "--run", "gone"}, 2, "no run gone"},
		{[]string{"audit"}, 2, "name either a run"},
		{[]string{"members", "add", "c9"}, 2, "id=host:port"},
		{[]string{"members", "remove", "c0"}, 1, "last one"},
		{[]string{"submit", demo, "--set", "steps=3", "--storage", "http://nowhere"}, 2, "supported"},
		{[]string{"submit", demo, "--resume"}, 2, "--run NAME"},
	} {
		_, messages, code := c.Do(x.args...)
		if code != x.code {
			t.Errorf("%v: exit code %d, want %d\n%s", x.args, code, x.code, messages)
		}
		expect(t, messages, x.message)
	}
	var members []struct {
		ID     string `json:"id"`
		Leader bool   `json:"leader"`
	}
	if c.JSON(&members, "members", "list"); len(members) != 1 || members[0].ID != "c0" || !members[0].Leader {
		t.Errorf("members %+v", members)
	}
	c.StartWorker("w0")
	until(t, c, func(s status) bool { return len(s.Workers) == 1 && s.Workers[0].ID == "w0" })
	// A run that waits for workers ends at once, and goes on by --resume.
	var run struct{ Phase, Reason string }
	submit := []string{"submit", demo, "--run", "a", "--min-workers", "2", "--set", "steps=3"}
	if c.JSON(&run, submit...); run.Phase != "waiting" {
		t.Errorf("submitted: %+v", run)
	}
	if c.JSON(&run, "cancel", "a", "--reason", "enough"); run.Phase != "stopped" || run.Reason != "enough" {
		t.Errorf("cancelled: %+v", run)
	}
	if c.JSON(&run, append(submit, "--resume")...); run.Phase != "waiting" {
		t.Errorf("resumed: %+v", run)
	}
}

// TestMixedKernels: workers whose kernels are of one class carry a run together, and it ends with the weights that each gives
// alone. Where the CPU has AVX-512 one uses it and the other AVX2; elsewhere both have the same kernels.
func TestMixedKernels(t *testing.T) {
	settings := []string{"--set", "steps=12", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test="}
	kernels := []string{kernel.Class(), kernel.Name()}
	c := testcluster.StartCluster(t, 1)
	for i, name := range kernels {
		c.StartWorker(fmt.Sprint("w", i), "--kernel", name)
	}
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "2"}, settings...)...)
	s := until(t, c, func(s status) bool {
		return len(s.Runs) == 1 && s.Runs[0].Phase != "running" && s.Runs[0].Phase != "waiting"
	})
	r := s.Runs[0]
	if r.Phase != "finished" || r.Generation != 1 {
		t.Fatalf("the run ended so: %+v", r)
	}
	for _, name := range kernels {
		t.Setenv("PUPIL_KERNEL", name)
		alone := testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...)
		if alone.WeightsSHA256 != r.Weights {
			t.Errorf("both gave the weights %s, %s alone %s", r.Weights, name, alone.WeightsSHA256)
		}
	}
}
