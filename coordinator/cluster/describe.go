package cluster

import (
	"fmt"
	"time"
)

// CommandKind names the kind of command, as the log has it.
func CommandKind(c Command) string { return c.kind() }

// CommandKinds are all of them.
func CommandKinds() []string {
	var all []string
	for _, c := range []Command{
		Submit{},
		Resume{},
		Join{},
		Lost{},
		Draining{},
		Leave{},
		Planned{},
		Began{},
		Measured{},
		Committed{},
		Checkpointed{},
		YieldRequested{},
		Ended{},
		StopRequested{},
		Suspended{},
		Concluded{},
		Restarted{},
		TookOver{},
		TokenAdded{},
		TokenRemoved{},
	} {
		all = append(all, c.kind())
	}
	return all
}

// Phases are those that a run can be in.
func Phases() []Phase { return []Phase{Waiting, Running, Stopping, Finished, Stopped, Failed} }

const checkpointEvent = "checkpoint of step %d"

// CheckpointTime is when a run's newest checkpoint was whole; false when the events of that time are gone.
func (s *State) CheckpointTime(run string) (at time.Time, known bool) {
	r := s.Run(run)
	if r == nil || len(r.Checkpoints) == 0 {
		return at, false
	}
	want := fmt.Sprintf(checkpointEvent, r.Checkpoints[len(r.Checkpoints)-1])
	for i := len(s.Events) - 1; i >= 0; i-- {
		if e := &s.Events[i]; e.Run == run && e.Text == want {
			return e.Time, true
		}
	}
	return at, false
}
