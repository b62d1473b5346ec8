package testcluster_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"

	"pupil/internal/testcluster"
)

// quiet is the SHA-256 of the weights of the demo with some settings, from a run that nothing disturbs. Each is made once.
func quiet(t *testing.T, settings ...string) string {
	t.Helper()
	quietRuns.Lock()
	defer quietRuns.Unlock()
	key := strings.Join(settings, " ")
	if quietRuns.weights[key] == "" {
		s := testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...)
		quietRuns.weights[key] = s.WeightsSHA256
	}
	return quietRuns.weights[key]
}

var quietRuns = struct {
	sync.Mutex
	weights map[string]string
}{weights: map[string]string{}}

// TestRollingUpgrade trains on a cluster of two builds, the newest release's and this one: coordinators of both agree on a log,
// workers of both sum in a ring, if their numerics are the same; else the run stays with the older one.
// In mid-run the rest is replaced, the leader by a coordinator that has its folder, and the older worker by none. The run goes on
// and ends with the weights of a quiet one.
func TestRollingUpgrade(t *testing.T) {
	settings := []string{
		"--set", "steps=60", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=",
		"--set", "checkpoint.every=10",
	}
	want := quiet(t, settings...)
	before, next := testcluster.Previous(t), testcluster.Build(t)
	oldVersion, oldNumerics := before.Version(t)
	newVersion, newNumerics := next.Version(t)
	if oldVersion == newVersion {
		t.Fatalf("both builds are %s", oldVersion)
	}
	same := oldNumerics == newNumerics

	c := testcluster.StartClusterOf(t, before, 3)
	old := c.StartWorker("old")
	var s status
	c.JSON(&s, "status")
	leader := 0
	c.Use(next)
	for i, n := range c.Nodes {
		if n.Name == s.Leader {
			leader = i
		}
	}
	follower := (leader + 1) % 3
	terminate(t, c.Nodes[follower])
	c.StartNode(follower)
	c.StartWorker("new")
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "1", "--workers", "2"}, settings...)...)
	s = until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 3 })
	if len(s.Workers) != 2 {
		t.Errorf("of both builds %d workers carry the run", len(s.Workers))
	}
	var all struct {
		Workers []struct {
			ID, Build string
			Numerics  int
		}
	}
	c.JSON(&all, "status")
	for _, w := range all.Workers {
		if (w.ID == "new") != (w.Build == newVersion) || w.Numerics < 1 {
			t.Errorf("worker %s is of build %q, numerics %d", w.ID, w.Build, w.Numerics)
		}
	}
	terminate(t, c.Nodes[leader])
	c.StartNode(leader)
	if same {
		terminate(t, old)
	}
	s = until(t, c, func(s status) bool { return s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || (r.Weights == want) != same {
		t.Errorf("the run ended so: %+v; want the weights %s", r, want)
	}
}

// terminate ends a process as an upgrade does, and wants it to end well.
func terminate(t *testing.T, p *testcluster.Process) {
	t.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.Wait(); code != 0 {
		t.Fatalf("%s after SIGTERM: exit code %d\n%s", p.Name, code, p.Text())
	}
}
