package machine_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
	"pupil/internal/random"
)

// sim runs the machines of all ranks under a virtual clock, with a network that has faults. A step of it costs no more
// than the machine's: only the rank that something happened to is looked at.
type sim struct {
	plan
	rng    *random.Stream
	now    time.Duration
	events events
	order  int
	ranks  []*rank
	past   past
	free   [][]byte // memory of messages that have been received
	counts counts
}

// rank is a trainer with its machine.
type rank struct {
	id      int
	m       *machine.Machine
	step    int             // the one that it works at
	data    []*frame.Buffer // by bucket
	pool    *frame.Pool
	done    []bool
	left    int // buckets that are not done
	commits int // steps committed
	dead    bool
	stopped time.Duration // it stands still until then
	ended   time.Duration // when the machine failed
	wake    time.Duration // the machine's next tick; -1: none
}

// firstStep is the number of a plan's first step.
const firstStep = 7

// errWrong is a broken promise of the protocol.
var errWrong = errors.New("broken promise")

// run lets the ring do its plan, until nothing happens any more. It returns errWrong if a promise was broken.
func (s *sim) run(limit time.Duration) error {
	for id := range s.config.Size {
		c := s.config
		c.Rank, c.Pool, c.Wide = id, &frame.Pool{Freed: poison}, s.wide == id
		s.ranks = append(s.ranks, &rank{id: id, m: machine.New(c), wake: -1, pool: c.Pool})
		s.begin(s.ranks[id])
	}
	switch s.faults.once {
	case death, stop:
		s.after(s.faults.from, event{do: fault, rank: s.faults.rank})
	}
	for {
		r, err := s.turn()
		if err != nil {
			return err
		}
		if r == nil {
			return s.judge()
		}
		if s.now > limit {
			return fmt.Errorf("%w: something still happens after %s", errWrong, limit)
		}
		if err := s.collect(r); err != nil {
			return err
		}
	}
}

// turn lets the next thing happen and returns the rank that it happened to; nil when there is nothing.
func (s *sim) turn() (*rank, error) {
	var next *rank
	for _, r := range s.ranks {
		if r.wake >= 0 && (next == nil || r.wake < next.wake) {
			next = r
		}
	}
	if len(s.events) > 0 && (next == nil || s.events[0].at <= next.wake) {
		e := s.events.pop()
		s.now = e.at
		r := s.ranks[e.rank]
		if r.dead {
			return r, nil
		}
		return r, s.happen(r, e)
	}
	if next != nil {
		s.now = next.wake
		next.m.Tick(s.now)
	}
	return next, nil
}

func (s *sim) happen(r *rank, e event) error {
	if e.do == fault {
		if s.faults.once == death {
			r.dead, r.wake = true, -1
		} else {
			r.stopped = s.faults.to
			r.wake = max(r.wake, r.stopped)
		}
		return nil
	}
	if e.do == arrival {
		s.receive(e)
		return nil
	}
	if s.now < r.stopped {
		s.after(r.stopped-s.now, e)
		return nil
	}
	if r.m.Err() != nil {
		return nil
	}
	var err error
	if e.do == commit {
		err = r.m.Commit(s.now, uint64(r.step)+firstStep)
	} else {
		v := s.steps[r.step][e.bucket]
		if v.has != nil {
			return s.share(r, e.bucket, v)
		}
		r.data[e.bucket] = r.pool.Get(len(v.in[r.id]))
		copy(r.data[e.bucket].Bytes, v.in[r.id])
		err = r.m.Start(s.now, uint64(r.step)+firstStep, uint32(e.bucket), v.dtype, r.data[e.bucket])
	}
	if err != nil && r.m.Err() == nil {
		return fmt.Errorf("%w: rank %d: a right call fails: %w", errWrong, r.id, err)
	}
	return nil
}

// share begins with a state that the rank has, or lacks.
func (s *sim) share(r *rank, bucket int, v vector) error {
	var state *frame.Buffer
	var hash [sha256.Size]byte
	if v.has[r.id] {
		state, hash = &frame.Buffer{Bytes: v.sum}, sha256.Sum256(v.sum)
	}
	err := r.m.Share(s.now, uint64(r.step)+firstStep, uint32(bucket), state, hash, len(v.sum))
	if err != nil && r.m.Err() == nil {
		return fmt.Errorf("%w: rank %d: a right call fails: %w", errWrong, r.id, err)
	}
	return nil
}

// begin starts a step: its buckets come in any order, at any time.
func (s *sim) begin(r *rank) {
	if r.step == len(s.steps) {
		return
	}
	n := len(s.steps[r.step])
	r.done, r.data, r.left = make([]bool, n), make([]*frame.Buffer, n), n
	if n == 0 {
		s.after(s.pause(), event{do: commit, rank: r.id})
	}
	for _, b := range s.rng.Perm(n) {
		s.after(s.pause(), event{do: start, rank: r.id, bucket: b})
	}
}

// pause is the time that a rank computes: mostly short, at times long, always under half the deadline.
func (s *sim) pause() time.Duration {
	f := s.rng.Float64()
	return time.Duration(f * f * f * 0.5 * float64(s.config.Deadline))
}

// collect moves what a machine put out.
func (s *sim) collect(r *rank) error {
	out := r.m.Take()
	for _, x := range out.Sends {
		if !r.dead {
			s.transfer(r.id, x.To, x.Frame.Encode())
		}
		x.Frame.Release()
	}
	if r.dead {
		return nil
	}
	for _, c := range out.Completed {
		if err := s.completed(r, c); err != nil {
			return err
		}
	}
	if r.m.Err() != nil && r.ended == 0 {
		r.ended = s.now
		if r.m.Held() != 0 {
			return fmt.Errorf("%w: rank %d holds %d bytes after its end", errWrong, r.id, r.m.Held())
		}
	}
	if at, ok := r.m.Next(); ok {
		r.wake = max(at, s.now+1, r.stopped+1) // what waited for a rank that stood still comes first
	} else {
		r.wake = -1
	}
	return nil
}

func (s *sim) completed(r *rank, c machine.Completion) error {
	if c.Step != uint64(r.step)+firstStep {
		return fmt.Errorf("%w: rank %d completed step %d at step %d", errWrong, r.id, c.Step, r.step+firstStep)
	}
	if c.Commit {
		for _, other := range s.ranks {
			if other.step < r.step || other.step == r.step && other.left > 0 {
				return fmt.Errorf("%w: rank %d committed step %d, rank %d has not reduced it", errWrong, r.id, r.step, other.id)
			}
		}
		r.commits++
		r.step++
		s.begin(r)
		return nil
	}
	if r.done[c.Bucket] {
		return fmt.Errorf("%w: rank %d completed bucket %d twice", errWrong, r.id, c.Bucket)
	}
	r.done[c.Bucket] = true
	r.left--
	v := s.steps[r.step][c.Bucket]
	got, _ := r.m.Shared(c.Bucket)
	if v.has == nil {
		got = r.data[c.Bucket].Bytes
	}
	if !slices.Equal(got, v.sum) {
		return fmt.Errorf("%w: rank %d has a wrong sum of step %d, bucket %d", errWrong, r.id, r.step, c.Bucket)
	}
	r.data[c.Bucket].Release()
	r.data[c.Bucket] = nil
	if r.left == 0 {
		s.after(s.pause(), event{do: commit, rank: r.id})
	}
	return nil
}

// judge looks at the end: every rank has done all, or has failed.
func (s *sim) judge() error {
	for _, r := range s.ranks {
		if !r.dead && r.m.Err() == nil && r.commits < len(s.steps) {
			return fmt.Errorf("%w: rank %d hangs at step %d", errWrong, r.id, r.step)
		}
		if errors.Is(r.m.Err(), machine.ErrMismatch) {
			return fmt.Errorf("%w: rank %d: %w", errWrong, r.id, r.m.Err())
		}
		if err := r.leave(); err != nil {
			return err
		}
	}
	return nil
}

// leave ends a machine. All memory must then be back.
func (r *rank) leave() error {
	r.m.Leave(errors.New("the end"))
	for _, b := range r.data {
		b.Release()
	}
	if p := r.pool.Stats(); p.Lent != 0 || p.LentBytes != 0 || p.Misused != 0 || r.m.Held() != 0 {
		return fmt.Errorf("%w: rank %d: at its end %d bytes are held, and of the pool %+v", errWrong, r.id, r.m.Held(), p)
	}
	return nil
}

// poison overwrites memory that nobody holds: who still uses it gets a wrong sum or a damaged message.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdd
	}
}

// failed counts the ranks that did not do all.
func (s *sim) failed() (n int) {
	for _, r := range s.ranks {
		if r.dead || r.commits < len(s.steps) {
			n++
		}
	}
	return n
}
