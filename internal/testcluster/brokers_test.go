package testcluster_test

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pupil/internal/testcluster"
)

// TestBrokersKilled has a broker in each of three coordinators. While a run is under way it kills coordinators whose brokers
// carry the workers, one that does not lead and then the leader, and restarts all of them one by one. The run ends with the
// weights of the quiet one, in its first generation: nobody was taken for dead, and no step was lost.
func TestBrokersKilled(t *testing.T) {
	settings := []string{
		"--set", "steps=500", "--set", "batch=16", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=100",
	}
	want := quiet(t, settings...)
	c := testcluster.StartCoordinators(t, 3, "--worker-timeout", "10s") // so that a busy machine's delays are nobody's death
	record := t.TempDir()
	workers := []*testcluster.Process{c.StartWorker("w0", "--record", record), c.StartWorker("w1", "--record", record)}
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "2"}, settings...)...)
	s := running(t, c, 5)

	// carries says how many connections of the workers a coordinator's broker has.
	carries := func(i int) (n int) {
		_, port, err := net.SplitHostPort(c.Brokers[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range workers {
			for _, p := range uses(t, w.Cmd.Process.Pid) {
				if strconv.Itoa(p) == port {
					n++
				}
			}
		}
		return n
	}
	// strike kills a coordinator, sees steps go on, and starts it again.
	strike := func(i int) status {
		c.Nodes[i].Kill()
		s := running(t, c, s.Runs[0].Step+5)
		c.StartNode(i)
		ready(t, c, i)
		return s
	}
	index := func(id string) int {
		return slices.IndexFunc(c.Nodes, func(n *testcluster.Process) bool { return n.Name == id })
	}
	followers := 0
	for {
		leader := index(s.Leader)
		if followers > 0 && carries(leader) > 0 {
			if s = strike(leader); s.Leader == c.Nodes[leader].Name {
				t.Errorf("%s leads still", s.Leader)
			}
			break
		}
		for i := range c.Nodes { // the connections go to the others, sooner or later to the leader too
			if i != leader && carries(i) > 0 {
				s = strike(i)
				followers++
				break
			}
		}
	}
	for i, n := range c.Nodes { // one by one, as for an upgrade
		if err := n.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := n.Wait(); code != 0 {
			t.Errorf("%s after SIGTERM: exit code %d\n%s", n.Name, code, n.Text())
		}
		s = running(t, c, s.Runs[0].Step+3)
		c.StartNode(i)
		ready(t, c, i)
	}
	endsWell(t, c, want, record, 500)
}

// endsWell waits for the end of the only run, and holds that it is whole: its weights, all in one generation, and each sample fed once.
func endsWell(t *testing.T, c *testcluster.Cluster, weights, record string, steps int) {
	t.Helper()
	s := until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || r.Generation != 1 || r.Weights != weights {
		t.Errorf("the run ended so: %+v; want the weights %s in generation 1", r, weights)
	}
	var audit struct {
		ExactlyOnce bool `json:"exactly_once"`
		Gapless     bool `json:"gapless"`
		Committed   int  `json:"committed_steps"`
		Fed         struct {
			Agrees bool `json:"agrees"`
		} `json:"fed"`
	}
	c.JSON(&audit, "audit", "one", "--record", record)
	if !audit.ExactlyOnce || !audit.Gapless || !audit.Fed.Agrees || audit.Committed != steps {
		t.Errorf("audit %+v", audit)
	}
}

// running waits for a step of the run, which must be under way then.
func running(t *testing.T, c *testcluster.Cluster, step int) status {
	t.Helper()
	s := until(t, c, func(s status) bool { return s.Leader != "" && len(s.Runs) == 1 && s.Runs[0].Step >= step })
	if s.Runs[0].Phase != "running" {
		t.Fatalf("the run is over before all has happened: %+v", s)
	}
	return s
}

// ready waits until a coordinator says that it is.
func ready(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if r, err := http.Get(c.APIs[i] + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("%s is not ready:\n%s", c.Nodes[i].Name, c.Nodes[i].Text())
		}
	}
}
