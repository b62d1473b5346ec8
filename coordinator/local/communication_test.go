package local

import (
	"math"
	"testing"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// The job's share is that of the worker whose sums came soonest after its lanes, by the mean of its steps.
func TestCommunication(t *testing.T) {
	worker := func(id string, rank, steps int, exchange, exposed float64) control.WorkerStatus {
		return control.WorkerStatus{
			Worker: cluster.Worker{ID: id}, Rank: rank, Timed: steps,
			Total: wire.Times{Exchange: exchange, Exposed: exposed, Left: float64(steps)},
		}
	}
	idle := worker("idle", -1, 0, 0, 0)
	if c := communication([]control.WorkerStatus{worker("a", 0, 10, 0, 0), idle}); c != nil {
		t.Errorf("one worker: %+v", c)
	}
	var p pace
	p.told([]control.WorkerStatus{worker("a", 1, 2, 1, 1), idle})
	p.told([]control.WorkerStatus{worker("a", -1, 3, 1, 1)}) // the run has ended
	if a := p.workers["a"]; len(p.workers) != 2 || a.Rank != 1 || a.Timed != 3 {
		t.Errorf("kept: %+v", p.workers)
	}
	c := communication([]control.WorkerStatus{worker("b", 1, 10, 8, 4), idle, worker("a", 0, 4, 2, 0.5)})
	if c == nil || len(c.Workers) != 2 || c.Workers[0].Worker != "a" || c.Workers[1].Worker != "b" {
		t.Fatalf("%+v", c)
	}
	if math.Abs(c.Hidden-0.75) > 1e-12 || math.Abs(c.Workers[1].Hidden-0.5) > 1e-12 {
		t.Errorf("hidden: %v, by worker %v and %v", c.Hidden, c.Workers[0].Hidden, c.Workers[1].Hidden)
	}
	if a, b := c.Workers[0].Times, c.Workers[1].Times; a.Left != 1 || b.Left != 1 || a.Exchange != 0.5 || b.Exposed != 0.4 {
		t.Errorf("means: %+v, %+v", a, b)
	}
}
