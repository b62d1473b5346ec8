package agent

import (
	"fmt"
	"time"
)

// solitude is a worker's time without a coordinator. It bears that as long as its steps go on, as they do when the sums need no
// broker of a coordinator, and then for its patience.
type solitude struct {
	timeout  time.Duration // after so long it is worth a word
	patience time.Duration // 0: for ever

	silent time.Duration // since a coordinator has answered
	idle   time.Duration // of that, since a step was made
	made   int           // steps, as they were counted last
	told   time.Duration // of silent, when it was told last
}

// solitudeEvery is the time between two words about it.
const solitudeEvery = time.Minute

// pass adds time, in which the steps were counted to made. say: it is time for a word. over: for one that has had enough.
func (s *solitude) pass(d time.Duration, made int) (say, over bool) {
	s.silent += d
	s.idle += d
	if made != s.made {
		s.made, s.idle = made, 0
	}
	if s.told == 0 && s.silent > s.timeout || s.told > 0 && s.silent-s.told >= solitudeEvery {
		s.told, say = s.silent, true
	}
	return say, s.patience > 0 && s.idle > s.patience
}

// end is an answer. was: it was told that there is none.
func (s *solitude) end() (was bool) {
	was = s.told > 0
	s.silent, s.idle, s.told = 0, 0, 0
	return was
}

// bear lets time pass, tells of it, and ends a session that has waited for too long.
func (a *agent) bear(s *solitude, d time.Duration) {
	a.mu.Lock()
	b := a.beat
	a.mu.Unlock()
	say, over := s.pass(d, b.Timed)
	if say {
		text := "the coordinator does not answer; going on without it"
		if s.idle >= min(solitudeEvery, s.silent) && b.Generation > 0 {
			text = "the coordinator does not answer, and no step is made; waiting for it"
		}
		a.logger.Warn(text, "for", s.silent.Round(time.Millisecond), "generation", b.Generation, "step", b.Step)
	}
	if over {
		a.gone(fmt.Errorf("%w: for %s none has answered, and no step was made (--patience)", ErrCoordinatorGone, s.patience))
	}
}
