package cluster

import (
	"slices"
	"time"
)

// Noticed says that a worker has met something and goes on, such as a storage that fails. It is an event; said twice it is one.
type Noticed struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Text       string `json:"text"`
}

func (Noticed) kind() string { return "noticed" }

func (c Noticed) apply(s *State, at time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	switch {
	case err != nil:
		return err
	case r.Plan.Rank(c.Worker) < 0:
		return refuse(ErrStale, "worker %s is no member of generation %d", c.Worker, c.Generation)
	case c.Text == "":
		return refuse(ErrRefused, "a notice without a text")
	}
	for _, e := range slices.Backward(s.Events) {
		if e.Run == r.Run && e.Worker == c.Worker {
			if e.Text == c.Text {
				return nil
			}
			break
		}
	}
	s.event(at, r.Run, c.Worker, "%s", c.Text)
	return nil
}

// pass tells of the checkpoints that a run cannot begin from.
func (s *State) pass(at time.Time, r *Run) {
	for _, text := range r.Passed {
		s.event(at, r.Run, "", "%s", text)
	}
	r.Passed = nil
}
