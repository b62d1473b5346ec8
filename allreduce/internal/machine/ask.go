package machine

import "time"

// asker says when to ask again for what does not come. Waiting is doubled after every question without progress, up to
// Deadline/32: a question costs next to nothing when there is no answer yet. What the answers tell changes the first
// wait, see Machine.learn.
type asker struct {
	at      time.Duration
	level   int   // questions since the last progress
	attempt uint8 // the same, for the header
	asked   bool  // ever
	learned bool  // an answer to the last question came
}

// firstWait bounds the time until the first question; it is shorter for deadlines under 64 times as much.
const firstWait = 100 * time.Millisecond

// wait is the time until the next question, after level questions without progress.
func (m *Machine) wait(level, patience int) time.Duration {
	first := min(m.c.Deadline/64, firstWait)
	return max(min(first<<patience, m.c.Deadline/16), min(first<<min(level, 16), m.c.Deadline/32))
}

// restart makes an asker wait from now on.
func (m *Machine) restart(a *asker) {
	a.level, a.attempt = 0, 0
	a.at = m.now + m.wait(0, m.patience)
}

// again notes that a question was asked.
func (m *Machine) again(a *asker, patience int) {
	m.stats.Asked++
	a.asked, a.learned = true, false
	a.level++
	a.at = m.now + m.wait(a.level, patience)
}

// moved notes progress of a bucket.
func (m *Machine) moved(b *bucket) {
	m.progress = m.now
	m.restart(&b.ask)
}

// learn changes the first wait, and how many answers the next question wants, by the first answer to a question. One that came twice
// shows that the question was too early, as on a slow network: the wait is doubled, up to Deadline/16, and half as many are wanted. One
// that brought what was missing shows a loss: the wait is halved, and twice as many are wanted. So what an early question costs on a
// slow network is one chunk, and many lost chunks are mended by a few questions.
func (m *Machine) learn(b *bucket, attempt uint8, twice bool) {
	if attempt == 0 || b.ask.learned {
		return
	}
	b.ask.learned = true
	switch {
	case !twice:
		m.patience = max(0, m.patience-1)
		m.answers = min(2*m.answers, m.c.Size*m.c.Window)
		return
	case m.wait(0, m.patience) < m.c.Deadline/16:
		m.patience++
	}
	m.answers = max(1, m.answers/2)
}

// hear notes an answer that has brought nothing: others may be on their way, for as long as until a question would be asked.
func (m *Machine) hear(b *bucket, attempt uint8) {
	if attempt > 0 {
		b.ask.at = max(b.ask.at, m.now+m.wait(b.ask.level, m.patience))
	}
}
