package testcluster_test

import (
	"encoding/json"
	"testing"

	"pupil/internal/testcluster"
)

// ringTimes are those of a worker's newest step, as coordinators tell them.
type ringTimes struct {
	ID       string  `json:"id"`
	Rank     int     `json:"rank"`
	Step     int     `json:"step"`
	Left     float64 `json:"left_seconds"`
	Behind   float64 `json:"behind_seconds"`
	Send     float64 `json:"send_seconds"`
	Add      float64 `json:"add_seconds"`
	Exchange float64 `json:"exchange_seconds"`
	Exposed  float64 `json:"exposed_seconds"`
	Hidden   float64 `json:"hidden"`
}

// sane says whether the parts are there, and fit each other.
func (r ringTimes) sane() bool {
	return r.Left > 0 && r.Send > 0 && r.Add > 0 && r.Behind >= 0 && r.Exchange > 0 &&
		r.Exposed >= 0 && r.Exposed <= r.Exchange && r.Hidden >= 0 && r.Hidden <= 1
}

// TestRingTimes: while two workers train, a coordinator tells of each where its ring's time went, anew in each step.
func TestRingTimes(t *testing.T) {
	c := testcluster.StartCluster(t, 1)
	c.StartWorker("w0")
	c.StartWorker("w1")
	var run struct{ Phase string }
	c.JSON(&run, "submit", demo, "--run", "one", "--workers", "2", "--min-workers", "2", "--set", "steps=60", "--set", "batch=64",
		"--set", "student.width=0.25", "--set", "dataset.test=")
	seen := map[int]map[int]ringTimes{0: {}, 1: {}} // by rank and step
	c.Watch(func(line []byte) bool {
		var s struct {
			Runs []struct {
				Phase string `json:"phase"`
			} `json:"runs"`
			Workers []ringTimes `json:"workers"`
		}
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		for _, w := range s.Workers {
			if w.Rank >= 0 && w.Exchange > 0 { // it has told of a step
				seen[w.Rank][w.Step] = w
			}
		}
		return len(s.Runs) == 1 && s.Runs[0].Phase == "finished"
	})
	for rank, steps := range seen {
		different := map[float64]bool{}
		for step, r := range steps {
			if !r.sane() || step < 1 || step > 60 {
				t.Errorf("rank %d: %+v", rank, r)
			}
			different[r.Left] = true
		}
		if len(steps) < 2 || len(different) < 2 {
			t.Errorf("rank %d told of %d steps, with %d times: %+v", rank, len(steps), len(different), steps)
		}
	}
}

// TestCommunication: the summary of a run has each worker's times, on the mean of the steps that its heartbeats have told of.
func TestCommunication(t *testing.T) {
	const steps = 30
	s := testcluster.Run(t, demo, short(t, steps, "--workers", "2")...)
	if len(s.Communication.Workers) != 2 {
		t.Fatalf("communication %+v", s.Communication)
	}
	for rank, w := range s.Communication.Workers {
		r := ringTimes{
			Left: w.Left, Behind: w.Behind, Send: w.Send, Add: w.Add, Exchange: w.Exchange, Exposed: w.Exposed, Hidden: w.Hidden,
		}
		if !r.sane() || w.Steps < 1 || w.Steps > steps || w.Compute <= 0 {
			t.Errorf("rank %d: %+v", rank, w)
		}
	}
	if h := s.Communication.Hidden; h < 0 || h > 1 {
		t.Errorf("hidden %v", h)
	}
}
