package machine_test

import (
	"slices"
	"time"

	"pupil/allreduce/internal/frame"
)

// faults are probabilities, by message, and what happens once.
type faults struct {
	drop, repeat, delay, corrupt, truncate, replay float64
	once                                           kind
	rank                                           int           // that it happens to
	from, to                                       time.Duration // when; to is the end, if it has one
}

// kind is what happens once in a schedule.
type kind int

const (
	nothing kind = iota
	death        // the rank is gone from from on
	stop         // the rank stands still until to (SIGSTOP); what comes meanwhile waits for it
	restart      // of the broker: every message is lost until to, also those that are under way
	gone         // the broker, from from on
	deaf         // what the rank before it sends to the rank is lost from from on
)

// cuts tells whether a message to a rank is lost now.
func (f faults) cuts(now time.Duration, from, to, size int) bool {
	switch f.once {
	case restart:
		return now >= f.from && now < f.to
	case gone:
		return now >= f.from
	case deaf:
		return now >= f.from && to == f.rank && from == (to+size-1)%size
	}
	return false
}

type counts struct {
	sent, dropped, repeated, delayed, corrupted, truncated, replayed, cut, narrow int
}

func (c *counts) add(d counts) {
	c.sent += d.sent
	c.dropped += d.dropped
	c.repeated += d.repeated
	c.delayed += d.delayed
	c.corrupted += d.corrupted
	c.truncated += d.truncated
	c.replayed += d.replayed
	c.cut += d.cut
	c.narrow += d.narrow
}

// hit draws whether something of probability p happens.
func (s *sim) hit(p float64, n *int) bool {
	if p == 0 || float64(float64(s.rng.Uint32())*0x1p-32) >= p {
		return false
	}
	*n++
	return true
}

// past are some messages of any step and attempt, to be replayed.
type past struct {
	messages [][]byte
	from, to []int
}

// remember keeps the first 64 messages, and later puts one in the place of another now and then.
func (s *sim) remember(from, to int, message []byte) {
	p := &s.past
	if len(p.messages) < 64 {
		p.messages = append(p.messages, slices.Clone(message))
		p.from, p.to = append(p.from, from), append(p.to, to)
	} else if i := s.counts.sent * 7 % 256; i < 64 {
		p.messages[i], p.from[i], p.to[i] = append(p.messages[i][:0], message...), from, to
	}
}

// transfer brings a message to a rank, or does not.
func (s *sim) transfer(from, to int, message []byte) {
	f := &s.faults
	s.counts.sent++
	if frame.DType(message[6]) == frame.Int24 && frame.Kind(message[5]) == frame.Data {
		s.counts.narrow++
	}
	if f.cuts(s.now, from, to, s.config.Size) {
		s.counts.cut++
		return
	}
	if f.replay > 0 {
		s.remember(from, to, message)
	}
	if s.hit(f.replay, &s.counts.replayed) {
		i := s.rng.IntN(len(s.past.messages))
		s.arrive(s.latency(), s.past.from[i], s.past.to[i], s.stale(s.past.messages[i]))
	}
	if s.hit(f.drop, &s.counts.dropped) {
		return
	}
	if s.hit(f.repeat, &s.counts.repeated) {
		s.arrive(s.latency(), from, to, message)
	}
	message = s.copyOf(message)
	if s.hit(f.corrupt, &s.counts.corrupted) {
		for range 1 + s.rng.IntN(3) {
			message[s.rng.IntN(len(message))] ^= byte(1 + s.rng.IntN(255))
		}
	}
	if s.hit(f.truncate, &s.counts.truncated) {
		message = message[:s.rng.IntN(len(message))]
	}
	wait := 100 * time.Microsecond
	if s.hit(f.delay, &s.counts.delayed) {
		wait = s.latency()
	}
	s.after(wait, event{do: arrival, from: from, rank: to, message: message})
}

// stale is a message of the past again, or what another generation or job would have sent in its place.
func (s *sim) stale(message []byte) []byte {
	message = s.copyOf(message)
	f, err := frame.Decode(message)
	if err != nil {
		panic(err)
	}
	switch s.rng.IntN(4) {
	case 0:
		f.Generation -= uint64(1 + s.rng.IntN(3))
	case 1:
		f.Job++
	default:
		return f.Buffer
	}
	for i := range f.Payload() {
		f.Payload()[i] ^= byte(s.rng.Uint32())
	}
	f.Seal()
	return f.Encode()
}

// latency is that of a message that others may overtake.
func (s *sim) latency() time.Duration {
	return time.Duration(s.rng.Float64() * float64(s.config.Deadline) / 16)
}

// arrive lets a copy of a message arrive.
func (s *sim) arrive(wait time.Duration, from, to int, message []byte) {
	s.after(wait, event{do: arrival, from: from, rank: to, message: s.copyOf(message)})
}

// receive hands a message that has arrived to its rank.
func (s *sim) receive(e event) {
	if s.faults.once != deaf && s.faults.cuts(s.now, e.from, e.rank, s.config.Size) { // the broker had it
		s.counts.cut++
		return
	}
	r := s.ranks[e.rank]
	if s.now < r.stopped {
		s.after(r.stopped-s.now, e)
		return
	}
	if f, err := frame.Decode(e.message); err == nil {
		r.m.Receive(s.now, f.Adopt(r.pool, s.recycle))
	} else {
		s.recycle(e.message)
	}
}

// copyOf is a copy of a message, in the memory of one that has been received.
func (s *sim) copyOf(message []byte) []byte {
	var room []byte
	if n := len(s.free); n > 0 {
		room, s.free = s.free[n-1], s.free[:n-1]
	}
	return append(room[:0], message...)
}

func (s *sim) recycle(message []byte) { s.free = append(s.free, message) }
