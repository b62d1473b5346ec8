package ringsim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
	"pupil/internal/random"
)

// Config says what to simulate.
type Config struct {
	Ranks    int
	Plane    Plane
	Rate     float64             // of all cards, bytes a second
	Latency  time.Duration       // of a link
	SlowLink map[int]float64     // by rank: its card is so many times slower
	SlowRank map[int]float64     // by rank: it computes so many times longer
	Buckets  []int               // bytes of the vectors of int32 that a step sums
	Compute  time.Duration       // of a step; bucket i of n is there after (i+1)/n of it
	Steps    int                 // to simulate
	Deadline time.Duration       // of the ring
	Chunk    int                 // ChunkBytes of the ring
	Window   int                 // of the ring
	Lose     func(n uint64) bool // whether to lose the nth message that is sent; nil: none
}

// Result is what came of a simulation.
type Result struct {
	Time     time.Duration // until the last rank has committed the last step
	Waited   time.Duration // the most that a rank has waited for sums and commits, beyond its computing
	Busiest  int64         // bytes that the busiest card has sent
	Messages int64         // that were sent
	Asked    int64         // questions for what did not come
	Resent   int64         // chunks sent again
}

// Run simulates, and checks all sums.
func Run(c Config) (Result, error) {
	if c.Ranks < 1 || c.Ranks > frame.MaxRanks || c.Rate <= 0 || c.Steps < 1 || len(c.Buckets) == 0 || c.Deadline <= 0 ||
		c.Chunk < 8 || c.Chunk%8 != 0 || c.Window < 1 {
		return Result{}, fmt.Errorf("a simulation of %+v", c)
	}
	s := &simulation{c: c, sums: map[place]key{}}
	s.network = newNetwork(c, &s.clock)
	for rank := range c.Ranks {
		s.ranks = append(s.ranks, newMember(s, rank))
	}
	for _, m := range s.ranks {
		m.beginStep()
	}
	for s.err == nil && s.finished < c.Ranks {
		if !s.next() {
			return Result{}, errors.New("the simulation stands still")
		}
	}
	return s.result(), s.err
}

type simulation struct {
	c Config
	clock
	network  *network
	ranks    []*member
	sent     uint64
	finished int // ranks
	sums     map[place]key
	err      error
}

func (s *simulation) result() Result {
	r := Result{Time: s.now}
	for i, m := range s.ranks {
		st := m.machine.Stats()
		r.Messages += st.Sent
		r.Asked += st.Asked
		r.Resent += st.Resent
		r.Busiest = max(r.Busiest, s.network.out[i].bytes)
		r.Waited = max(r.Waited, m.waited)
	}
	if b := s.network.broker; b != nil {
		r.Busiest = max(r.Busiest, b.out.bytes)
	}
	return r
}

// member is a rank.
type member struct {
	s        *simulation
	rank     int
	compute  time.Duration
	machine  *machine.Machine
	pool     frame.Pool
	step     uint64
	data     []*frame.Buffer // by bucket
	missing  int             // buckets
	computed time.Duration   // when the step's computing was done
	waited   time.Duration
	timer    time.Duration // of the newest event for Tick; -1: none
}

func newMember(s *simulation, rank int) *member {
	m := &member{s: s, rank: rank, compute: s.c.Compute, timer: -1}
	if f, ok := s.c.SlowRank[rank]; ok {
		m.compute = time.Duration(float64(m.compute) * f)
	}
	m.machine = machine.New(machine.Config{
		Job: 1, Generation: 1, Rank: rank, Size: s.c.Ranks, Deadline: s.c.Deadline, ChunkBytes: s.c.Chunk, Window: s.c.Window,
		EarlyBytes: 1 << 30, Pool: &m.pool,
	})
	return m
}

// beginStep computes, and gives the buckets to the ring one after the other.
func (m *member) beginStep() {
	m.missing, m.data = len(m.s.c.Buckets), make([]*frame.Buffer, len(m.s.c.Buckets))
	m.computed = m.s.now + m.compute
	for i := range m.data {
		ready := m.s.now + m.compute*time.Duration(i+1)/time.Duration(len(m.data))
		m.s.at(ready, func() { m.give(i) })
	}
}

// give starts a bucket's sum.
func (m *member) give(i int) {
	b := m.pool.Get(m.s.c.Buckets[i] &^ 3)
	key := keyOf(m.rank, m.step, i)
	for j := 0; j < len(b.Bytes); j += 4 {
		binary.LittleEndian.PutUint32(b.Bytes[j:], key.at(j/4))
	}
	m.data[i] = b
	m.turn(m.machine.Start(m.s.now, m.step, uint32(i), frame.Int32, b))
}

// turn hands on what the machine put out.
func (m *member) turn(err error) {
	if err == nil {
		err = m.machine.Err()
	}
	if err != nil {
		m.s.fail(fmt.Errorf("rank %d at %s: %w", m.rank, m.s.now, err))
		return
	}
	out := m.machine.Take()
	for _, send := range out.Sends {
		m.send(send)
	}
	for _, x := range append([]machine.Completion(nil), out.Completed...) {
		m.completed(x)
	}
	m.wake()
}

// send puts a message, as bytes, on its way.
func (m *member) send(x machine.Send) {
	s := m.s
	message := bytes.Clone(x.Frame.Encode())
	x.Frame.Release()
	s.sent++
	if s.c.Lose != nil && s.c.Lose(s.sent) {
		return
	}
	s.network.send(m.rank, x.To, len(message), func() {
		f, err := frame.Decode(message)
		if err != nil {
			s.fail(err)
			return
		}
		to := s.ranks[x.To]
		to.machine.Receive(s.now, f)
		to.turn(nil)
	})
}

func (s *simulation) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// wake lets the machine's time pass when it next wants that.
func (m *member) wake() {
	at, ok := m.machine.Next()
	if !ok || m.timer >= 0 && m.timer <= at {
		return
	}
	at = max(at, m.s.now)
	m.timer = at
	m.s.at(at, func() {
		if m.timer != at {
			return // an earlier one took its place
		}
		m.timer = -1
		if next, ok := m.machine.Next(); ok && next <= m.s.now {
			m.machine.Tick(m.s.now)
			m.turn(nil)
			return
		}
		m.wake()
	})
}

// completed goes on after a bucket, or a step.
func (m *member) completed(x machine.Completion) {
	if !x.Commit {
		m.s.check(m, int(x.Bucket))
		if m.missing--; m.missing == 0 {
			m.turn(m.machine.Commit(m.s.now, m.step))
		}
		return
	}
	for _, b := range m.data {
		b.Release()
	}
	m.waited += m.s.now - m.computed
	m.step++
	if int(m.step) == m.s.c.Steps {
		m.s.finished++
		return
	}
	m.beginStep()
}

// key makes the elements of a rank's vector: key.a + i key.b, so that sums have a formula.
type key struct{ a, b uint32 }

func (k key) at(i int) uint32 { return k.a + uint32(i)*k.b }

func keyOf(rank int, step uint64, bucket int) key {
	r := random.New(random.PurposeTest, uint64(rank), step, uint64(bucket))
	return key{r.Uint32(), r.Uint32()}
}

// place is a vector of a step.
type place struct {
	step   uint64
	bucket int
}

// check compares a sum, element by element, with that of the formula.
func (s *simulation) check(m *member, bucket int) {
	at := place{m.step, bucket}
	sum, ok := s.sums[at]
	if !ok {
		for rank := range s.c.Ranks {
			k := keyOf(rank, m.step, bucket)
			sum.a += k.a
			sum.b += k.b
		}
		s.sums[at] = sum
	}
	data := m.data[bucket].Bytes
	for j := 0; j < len(data); j += 4 {
		if got, want := binary.LittleEndian.Uint32(data[j:]), sum.at(j/4); got != want {
			s.fail(fmt.Errorf("rank %d, step %d, bucket %d: element %d is %d, not %d", m.rank, m.step, bucket, j/4, got, want))
			return
		}
	}
}
