package cluster

import "time"

// Preparing asks a worker to prepare for a run that others carry: to open its data and its teacher, and to build the networks,
// before a generation takes it in, so that nobody waits for it. Decide makes it.
type Preparing struct {
	Worker string `json:"worker"`
	Run    string `json:"run"`
}

func (Preparing) kind() string { return "preparing" }

func (c Preparing) apply(s *State, at time.Time) error {
	w, r := s.Worker(c.Worker), s.Run(c.Run)
	switch {
	case w == nil:
		return refuse(ErrUnknown, "there is no worker %s", c.Worker)
	case r == nil:
		return refuse(ErrUnknown, "there is no run %s", c.Run)
	case r.Phase.Over():
		return refuse(ErrRefused, "run %s is %s", c.Run, r.Phase)
	case w.Run != "":
		return refuse(ErrRefused, "worker %s carries run %s", c.Worker, w.Run)
	}
	w.Preparing, w.Prepared, w.Asked = c.Run, false, at
	s.event(at, c.Run, c.Worker, "is to prepare, before it is taken in")
	return nil
}

// Prepared is a worker's answer to Preparing. One that cannot prepare is not given the run.
type Prepared struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Run     string `json:"run"`
	Error   string `json:"error"` // "": it is prepared
}

func (Prepared) kind() string { return "prepared" }

func (c Prepared) apply(s *State, at time.Time) error {
	w, err := s.session(c.Worker, c.Session)
	switch {
	case err != nil:
		return err
	case w.Preparing != c.Run || c.Run == "":
		return refuse(ErrStale, "worker %s was not asked to prepare for run %s", c.Worker, c.Run)
	case w.Run != "", w.Prepared, w.Unfit == c.Run: // it was taken in meanwhile, or has said so before
		return nil
	case c.Error != "":
		w.Unfit = c.Run
		s.event(at, c.Run, c.Worker, "cannot prepare, and is left out: %s; start the worker again when that is mended", c.Error)
		return nil
	}
	w.Prepared, w.Asked = true, at
	s.event(at, c.Run, c.Worker, "is prepared")
	return nil
}

// ready says whether a worker can join a run that is under way without the others waiting for it, as far as is known: one that
// takes too long to prepare is taken in as it is.
func (w *Worker) ready(r *Run, now time.Time, c Config) bool {
	return c.Prepare == 0 || w.Preparing == r.Run && (w.Prepared || !now.Before(w.Asked.Add(c.Prepare)))
}

// Share is how many lanes a worker would carry that the run took in beside those of the newest plan; at most, when all are
// equally fast.
func (r *Run) Share() int {
	members := 1
	if r.Plan != nil {
		members += len(r.Plan.Members)
	}
	return (r.Spec.Lanes + members - 1) / members
}

// unprepared are the workers that a run under way would take if they were prepared: the first that was not asked to, and
// otherwise when the first of them has taken too long.
func (s *State) unprepared(r *Run, now time.Time, c Config) (ask string, until time.Time) {
	own, free := s.candidates(r, s.claimed(r, now, c))
	for i, id := range free {
		if w := s.Worker(id); i < r.limit()-len(own) && !w.ready(r, now, c) {
			if w.Preparing != r.Run {
				return id, time.Time{}
			}
			if t := w.Asked.Add(c.Prepare); until.IsZero() || t.Before(until) {
				until = t
			}
		}
	}
	return "", until
}
