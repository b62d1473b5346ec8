package machine_test

import "time"

// action is what an event does.
type action int

const (
	arrival action = iota // of message, from rank from
	start                 // of bucket
	commit
	fault // that happens once
)

// event is something that happens to a rank.
type event struct {
	at      time.Duration
	order   int
	do      action
	rank    int
	from    int
	bucket  int
	message []byte
}

// events is a heap, the earliest first; those of the same time in the order of their making.
type events []event

func (e events) less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}

func (s *sim) after(d time.Duration, e event) {
	s.order++
	e.at, e.order = s.now+d, s.order
	h := append(s.events, e)
	for i := len(h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	s.events = h
}

func (e *events) pop() event {
	h := *e
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if child >= last || !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*e = h
	return first
}
