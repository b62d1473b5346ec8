package testcluster_test

import (
	"testing"

	"pupil/internal/testcluster"
)

// TestKilledWorkerShortSums: with sums of 16 bits a worker takes the error feedback of its lanes with it. The run goes back to
// its newest checkpoint, says so, and ends with the weights of a quiet one.
func TestKilledWorkerShortSums(t *testing.T) {
	settings := []string{
		"--set", "wire=int16", "--set", "steps=40", "--set", "batch=32", "--set", "student.width=0.25", "--set", "dataset.test=",
		"--set", "checkpoint.every=5",
	}
	want := testcluster.Run(t, demo, append(settings, "--workers", "1", "--storage", t.TempDir()+"/run")...)

	c := testcluster.StartCluster(t, 1)
	record := t.TempDir()
	c.StartWorker("w0", "--record", record)
	second := c.StartWorker("w1", "--record", record)
	var run struct{ Phase string }
	c.JSON(&run, append([]string{"submit", demo, "--run", "one", "--workers", "2"}, settings...)...)
	until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 8 && len(s.Runs[0].Checkpoints) > 0 })
	second.Kill()
	s := until(t, c, func(s status) bool { return s.Runs[0].Phase != "running" })
	if r := s.Runs[0]; r.Phase != "finished" || r.Step != 40 || r.Weights != want.WeightsSHA256 {
		t.Errorf("the run ended so: %+v; want the weights %s", r, want.WeightsSHA256)
	}
	var audit struct {
		ExactlyOnce bool `json:"exactly_once"`
		Gapless     bool `json:"gapless"`
		Committed   int  `json:"committed_steps"`
		Spans       []struct{ From, To int }
		Fed         struct {
			Agrees bool `json:"agrees"`
		} `json:"fed"`
	}
	c.JSON(&audit, "audit", "one", "--record", record)
	if !audit.ExactlyOnce || !audit.Gapless || !audit.Fed.Agrees || audit.Committed != 40 {
		t.Errorf("audit %+v", audit)
	}
	if len(audit.Spans) != 2 || audit.Spans[1].From%5 != 0 {
		t.Errorf("the second generation begins at no checkpoint: %+v", audit.Spans)
	}
	events, messages, code := c.Do("events", "--run", "one")
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, messages)
	}
	expect(t, events, "has the state of step [0-9]+ from a checkpoint")
}
