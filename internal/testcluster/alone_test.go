package testcluster_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pupil/internal/testcluster"
)

// TestCoordinatorsGone kills all three coordinators at once, and with them all brokers, while a run is under way. The workers go on
// meanwhile, as their own records show; then the coordinators come back with their folders and are told of what was done. Nobody
// was given up, no step made again: the weights are those of the quiet run, in its first generation.
func TestCoordinatorsGone(t *testing.T) {
	const steps, alone = 120, 15
	settings := []string{
		"--set", "steps=120", "--set", "batch=16", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=20",
	}
	want := quiet(t, settings...)
	c := testcluster.StartCoordinators(t, 3, "--worker-timeout", "10s") // so that a busy machine's delays are nobody's death
	record := t.TempDir()
	workers := []*testcluster.Process{c.StartWorker("w0", "--record", record), c.StartWorker("w1", "--record", record)}
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--min-workers", "2"}, settings...)...)
	running(t, c, 5)
	for _, n := range c.Nodes {
		n.Kill()
	}
	// Whoever feeds a step has committed those before it.
	begin := fed(t, record, "w0")
	for _, w := range workers {
		for ticker := time.NewTicker(20 * time.Millisecond); fed(t, record, w.Name) < begin+alone; {
			select {
			case <-ticker.C:
			case <-t.Context().Done():
				t.Fatalf("%s has fed step %d, and does not reach %d without coordinators:\n%s", w.Name, fed(t, record, w.Name),
					begin+alone, w.Text())
			}
		}
	}
	if begin+alone >= steps {
		t.Fatalf("the coordinators died in step %d of %d: too late to see anything", begin, steps)
	}
	for i := range c.Nodes {
		c.StartNode(i)
	}
	endsWell(t, c, want, record, steps)
	// The checkpoints that were made meanwhile are known as well.
	var detail struct {
		Checkpoints []int `json:"checkpoints"`
	}
	c.JSON(&detail, "status", "one")
	if n := len(detail.Checkpoints); n < steps/20 {
		t.Errorf("the coordinators know of the checkpoints %v", detail.Checkpoints)
	}
}

// fed is the newest step that a worker has recorded, counted from 0.
func fed(t *testing.T, folder, worker string) (step int) {
	t.Helper()
	f, err := os.Open(filepath.Join(folder, worker+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil { // the last one may be under way
			step = max(step, line.Step)
		}
	}
	return step
}
