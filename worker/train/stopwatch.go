package train

import "time"

// stopwatch measures the time that a lane computes: it stands still while the lane waits.
type stopwatch struct {
	total  time.Duration
	since  time.Time
	lapped time.Duration // of total, at the end of the last lap
}

func (s *stopwatch) reset() { s.total, s.lapped = 0, 0 }
func (s *stopwatch) start() { s.since = time.Now() }
func (s *stopwatch) stop()  { s.total += time.Since(s.since) }

// lap returns the time since the last one, without the waiting. The stopwatch runs.
func (s *stopwatch) lap() time.Duration {
	now := s.total + time.Since(s.since)
	d := now - s.lapped
	s.lapped = now
	return d
}

// phases are the laps of a lane's step.
type phases struct{ teacher, forward, joint, backward time.Duration }

func (p phases) add(to *Times) {
	to.Teacher += p.teacher.Seconds()
	to.Forward += p.forward.Seconds()
	to.Joint += p.joint.Seconds()
	to.Backward += p.backward.Seconds()
}
