package testcluster_test

import (
	"fmt"
	"syscall"
	"testing"

	"pupil/internal/testcluster"
)

// TestRollingUpgrade trains while everything is replaced by another build, one process after the other: first the
// coordinators, the leader last, then the workers. The run goes on, and ends with the weights of a quiet run.
func TestRollingUpgrade(t *testing.T) {
	settings := []string{
		"--set", "steps=150", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=",
		"--set", "checkpoint.every=20",
	}
	want := testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...)
	next := testcluster.BuildAs(t, "v99.0.0-next")

	c := testcluster.StartCluster(t, 3)
	workers := []*testcluster.Process{c.StartWorker("w0"), c.StartWorker("w1")}
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "1", "--workers", "2"}, settings...)...)
	s := until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 3 })

	c.Use(next)
	order, leader := []int{}, 0
	for i, n := range c.Nodes {
		if n.Name == s.Leader {
			leader = i
			continue
		}
		order = append(order, i)
	}
	for _, i := range append(order, leader) {
		terminate(t, c.Nodes[i])
		c.StartNode(i)
		c.JSON(&s, "status") // a leader is there
	}
	for i, w := range workers {
		c.StartWorker(fmt.Sprintf("n%d", i))
		until(t, c, func(s status) bool { return len(s.Workers) == 3 || s.Runs[0].Phase == "finished" })
		terminate(t, w)
	}
	s = until(t, c, func(s status) bool { return s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || r.Weights != want.WeightsSHA256 {
		t.Errorf("the run ended so: %+v; want the weights %s", r, want.WeightsSHA256)
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
