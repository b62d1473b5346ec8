package cluster

import "time"

// TookOver says that another coordinator, or the same one after a restart, leads from now on. Unlike after Restarted the
// workers live on and know what they carry.
type TookOver struct {
	Coordinator string `json:"coordinator"`
}

func (TookOver) kind() string { return "took_over" }

func (c TookOver) apply(s *State, at time.Time) error {
	if c.Coordinator == "" {
		return refuse(ErrRefused, "a coordinator without a name took over")
	}
	s.ActiveSince = at // nobody counted the workers in between
	s.event(at, "", "", "coordinator %s leads", c.Coordinator)
	return nil
}
