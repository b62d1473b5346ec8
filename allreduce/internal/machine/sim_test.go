package machine_test

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
	"pupil/internal/random"
)

// faults are probabilities, by message.
type faults struct {
	drop, repeat, delay, corrupt, truncate, replay float64
	dead                                           int           // a rank that dies; -1: none
	at                                             time.Duration // when
}

// vector is one rank's part of a bucket.
type vector struct {
	dtype frame.DType
	in    [][]byte // by rank
	sum   []byte
}

// plan is what a ring is to do: by step, by bucket.
type plan struct {
	config machine.Config // of rank 0
	steps  [][]vector
	faults faults
}

// sim runs the machines of all ranks under a virtual clock, with a network that has faults.
type sim struct {
	plan
	rng    *random.Stream
	now    time.Duration
	events events
	order  int
	ranks  []*rank
	sent   [][]byte // some messages of the past, to be replayed
	to     []int    // whom they were for
	counts counts
}

type counts struct{ sent, dropped, repeated, delayed, corrupted, truncated, replayed int }

// rank is a trainer with its machine.
type rank struct {
	id      int
	m       *machine.Machine
	step    int // the one that it works at
	started []bool
	data    [][]byte // by bucket
	done    []bool
	commits int // steps committed
	dead    bool
	ended   time.Duration // when the machine failed
	wake    time.Duration // the machine's next tick as scheduled; 0: none
}

type event struct {
	at    time.Duration
	order int
	run   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *sim) after(d time.Duration, run func()) {
	s.order++
	heap.Push(&s.events, event{s.now + d, s.order, run})
}

// errWrong is a broken promise of the protocol.
var errWrong = errors.New("broken promise")

// run lets the ring do its plan, until nothing happens any more. It returns errWrong if a promise was broken.
func (s *sim) run(limit time.Duration) error {
	for id := range s.config.Size {
		c := s.config
		c.Rank = id
		r := &rank{id: id, m: machine.New(c)}
		s.ranks = append(s.ranks, r)
		s.begin(r)
	}
	if s.faults.dead >= 0 {
		s.after(s.faults.at, func() { s.ranks[s.faults.dead].dead = true })
	}
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		if s.now > limit {
			return fmt.Errorf("%w: something still happens after %s", errWrong, limit)
		}
		e.run()
		for _, r := range s.ranks {
			if err := s.collect(r); err != nil {
				return err
			}
		}
	}
	return s.judge()
}

// begin starts a step: its buckets come in any order, at any time.
func (s *sim) begin(r *rank) {
	if r.step == len(s.steps) {
		return
	}
	n := len(s.steps[r.step])
	r.started, r.done, r.data = make([]bool, n), make([]bool, n), make([][]byte, n)
	if n == 0 {
		s.after(s.pause(), func() { s.commit(r) })
	}
	for _, b := range s.rng.Perm(n) {
		s.after(s.pause(), func() {
			if r.dead || r.m.Err() != nil {
				return
			}
			v := s.steps[r.step][b]
			r.started[b], r.data[b] = true, slices.Clone(v.in[r.id])
			if err := r.m.Start(s.now, uint64(r.step)+7, uint32(b), v.dtype, r.data[b]); err != nil && r.m.Err() == nil {
				panic(err)
			}
		})
	}
}

// pause is the time that a rank computes: mostly short, at times long, always under half the deadline.
func (s *sim) pause() time.Duration {
	f := s.rng.Float64()
	return time.Duration(f * f * f * 0.5 * float64(s.config.Deadline))
}

func (s *sim) commit(r *rank) {
	if !r.dead && r.m.Err() == nil {
		if err := r.m.Commit(s.now, uint64(r.step)+7); err != nil && r.m.Err() == nil {
			panic(err)
		}
	}
}

// collect moves what a machine put out.
func (s *sim) collect(r *rank) error {
	out := r.m.Take()
	if r.dead {
		return nil
	}
	for _, x := range out.Sends {
		s.transfer(x.To, slices.Clone(x.Frame.Encode()))
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
	if at, ok := r.m.Next(); ok && (r.wake == 0 || at < r.wake || r.wake <= s.now) {
		r.wake = max(at, s.now+1)
		wake := r.wake
		s.after(wake-s.now, func() {
			if r.wake == wake {
				r.wake = 0
			}
			if !r.dead {
				r.m.Tick(s.now)
			}
		})
	}
	return nil
}

func (s *sim) completed(r *rank, c machine.Completion) error {
	if c.Step != uint64(r.step)+7 {
		return fmt.Errorf("%w: rank %d completed step %d at step %d", errWrong, r.id, c.Step, r.step+7)
	}
	if c.Commit {
		for _, other := range s.ranks {
			if other.step < r.step || other.step == r.step && slices.Contains(other.done, false) {
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
	if !slices.Equal(r.data[c.Bucket], s.steps[r.step][c.Bucket].sum) {
		return fmt.Errorf("%w: rank %d has a wrong sum of step %d, bucket %d", errWrong, r.id, r.step, c.Bucket)
	}
	if !slices.Contains(r.done, false) {
		s.after(s.pause(), func() { s.commit(r) })
	}
	return nil
}

// transfer brings a message to a rank, or does not.
func (s *sim) transfer(to int, message []byte) {
	hit := func(p float64, n *int) bool {
		if s.rng.Float64() >= p {
			return false
		}
		*n++
		return true
	}
	f := &s.faults
	s.counts.sent++
	if len(s.sent) < 64 {
		s.sent, s.to = append(s.sent, slices.Clone(message)), append(s.to, to)
	} else if i := s.rng.IntN(256); i < 64 {
		s.sent[i], s.to[i] = slices.Clone(message), to
	}
	if hit(f.replay, &s.counts.replayed) {
		i := s.rng.IntN(len(s.sent))
		s.arrive(s.latency(), s.to[i], s.stale(s.sent[i]))
	}
	if hit(f.drop, &s.counts.dropped) {
		return
	}
	if hit(f.repeat, &s.counts.repeated) {
		s.arrive(s.latency(), to, slices.Clone(message))
	}
	if hit(f.corrupt, &s.counts.corrupted) {
		for range 1 + s.rng.IntN(3) {
			message[s.rng.IntN(len(message))] ^= byte(1 + s.rng.IntN(255))
		}
	}
	if hit(f.truncate, &s.counts.truncated) {
		message = message[:s.rng.IntN(len(message))]
	}
	wait := time.Duration(100) * time.Microsecond
	if hit(f.delay, &s.counts.delayed) {
		wait = s.latency()
	}
	s.arrive(wait, to, message)
}

// stale is a message of the past again, or what another generation or job would have sent in its place.
func (s *sim) stale(message []byte) []byte {
	f, err := frame.Decode(slices.Clone(message))
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

func (s *sim) arrive(wait time.Duration, to int, message []byte) {
	s.after(wait, func() {
		r := s.ranks[to]
		if r.dead {
			return
		}
		f, err := frame.Decode(message)
		if err == nil {
			r.m.Receive(s.now, f)
		}
	})
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
	}
	return nil
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

// newPlan draws sizes, types and values.
func newPlan(rng *random.Stream, size int) plan {
	p := plan{config: machine.Config{
		Job: 99, Generation: 5, Size: size, Deadline: time.Second,
		ChunkBytes: 8 * (1 + rng.IntN(8)), Window: 1 + rng.IntN(4), EarlyBytes: rng.IntN(4000),
	}}
	p.faults.dead = -1
	for range 1 + rng.IntN(3) {
		var step []vector
		for range rng.IntN(4) {
			step = append(step, newVector(rng, size, rng.IntN(60)))
		}
		p.steps = append(p.steps, step)
	}
	return p
}

func newVector(rng *random.Stream, size, n int) vector {
	v := vector{dtype: frame.Int32}
	if rng.IntN(2) == 0 {
		v.dtype = frame.Int64
	}
	width := v.dtype.Size()
	sums := make([]uint64, n)
	for range size {
		in := make([]byte, 0, n*width)
		for i := range n {
			x := rng.Uint64()
			sums[i] += x
			in = binary.LittleEndian.AppendUint64(in, x)[:(i+1)*width]
		}
		v.in = append(v.in, in)
	}
	v.sum = make([]byte, 0, n*width)
	for i, x := range sums {
		v.sum = binary.LittleEndian.AppendUint64(v.sum, x)[:(i+1)*width]
	}
	return v
}
