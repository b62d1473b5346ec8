package local

import (
	"slices"
	"strings"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
)

// news tells the user of what happens to a run's workers.
type news struct{ told uint64 }

// newNews begins after what has happened already.
func newNews(s *cluster.State) *news { return &news{told: s.Sequence} }

// routine begins what every run's events say, and a user need not read.
var routine = []string{"joined from", "submitted", "resumed", "generation 1:", "generation 1 goes", "checkpoint of", "finished", "stopped", "yielded", "asked to stop", "the coordinator", "failed"}

func (n *news) tell(events []cluster.Event, to Display) {
	before := n.told
	for _, e := range events {
		if e.Sequence <= before {
			continue
		}
		n.told = e.Sequence // one command may have several events
		if slices.ContainsFunc(routine, func(begin string) bool { return strings.HasPrefix(e.Text, begin) }) {
			continue
		}
		if e.Worker != "" {
			to.Notice(e.Worker + ": " + e.Text)
		} else {
			to.Notice(e.Text)
		}
	}
}

// joined says whether the coordinator has taken a worker in.
func (e *execution) joined(id string) bool {
	return slices.ContainsFunc(e.service.Status().Workers, func(w control.WorkerStatus) bool { return w.ID == id })
}
