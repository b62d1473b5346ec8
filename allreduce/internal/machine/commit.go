package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pupil/allreduce/internal/frame"
)

// digest is the SHA-256 of what a step reduced: of every bucket, by number, its type, its length and the checksums of
// its chunks' totals, or the SHA-256 of a state.
type digest [sha256.Size]byte

// commit is a Commit under way.
type commit struct {
	digest  digest
	started time.Duration
	ask     asker
}

// peerDone is what a rank has said of the open step's end.
type peerDone struct {
	known  bool
	digest digest
	pieces uint32 // of ALIVE
}

// A DONE's payload: the digest and one byte.
const (
	doneSize  = sha256.Size + 1
	isOver    = 1 // all ranks are done: the sender has committed the step
	isWaiting = 0
)

// Commit says that this rank has reduced all buckets of step. Its completion comes when all ranks have said so, with
// the same digest. The error is one of this call alone, unless Err says otherwise.
func (m *Machine) Commit(now time.Duration, step uint64) error {
	m.now = now
	if m.err != nil {
		return m.err
	}
	if err := m.openStep(step); err != nil {
		return err
	}
	if m.commit != nil {
		return fmt.Errorf("step %d: its commit has begun already", step)
	}
	if len(m.live) > 0 {
		return fmt.Errorf("step %d: bucket %d is not reduced yet", step, m.live[0].id)
	}
	c := &commit{digest: m.digestOf(), started: now}
	c.ask.at = now + m.wait(0, 0)
	m.commit = c
	for r := range m.c.Size {
		if r != m.c.Rank {
			m.answer(r, step, c.digest, false)
		}
	}
	m.replay()
	for r, d := range m.done {
		if d.known && m.err == nil {
			m.compare(r, d.digest)
		}
	}
	m.closeStep()
	return nil
}

func (m *Machine) digestOf() (d digest) {
	h := sha256.New()
	le := binary.LittleEndian
	words := le.AppendUint64(nil, m.step)
	for _, id := range slices.Sorted(maps.Keys(m.buckets)) {
		b := m.buckets[id]
		words = le.AppendUint32(words, b.id)
		words = append(words, byte(b.dtype))
		words = le.AppendUint64(words, uint64(b.bytes))
		for _, s := range b.sums {
			words = le.AppendUint32(words, s)
		}
		if b.share != nil {
			words = append(words, b.share.hash[:]...)
		}
		h.Write(words)
		words = words[:0]
	}
	h.Write(words)
	h.Sum(d[:0])
	return d
}

// answer sends a DONE.
func (m *Machine) answer(to int, step uint64, d digest, over bool) {
	f := m.c.Pool.New(m.header(frame.Done), doneSize)
	f.Step, f.Count, f.DType = step, doneSize, m.offer()
	p := f.Payload()
	copy(p, d[:])
	p[sha256.Size] = isWaiting
	if over {
		p[sha256.Size] = isOver
	}
	f.Seal()
	m.send(to, f)
}

// receiveDone takes a DONE of the open step. It cannot be taken back: a rank that has said it serves its neighbours and
// answers, and never reduces anew.
func (m *Machine) receiveDone(f frame.Frame) {
	if len(f.Payload()) != doneSize {
		m.mismatch("rank %d says that step %d is done in %d bytes; there must be %d", f.Sender, f.Step, f.Count, doneSize)
		return
	}
	if f.DType == frame.Int24 {
		m.narrow.learn(int(f.Sender))
	}
	d := digest(f.Payload()[:sha256.Size])
	from := &m.done[f.Sender]
	if from.known && from.digest != d {
		m.mismatch("rank %d has two digests of step %d", f.Sender, f.Step)
		return
	}
	if !from.known {
		m.progress = m.now
	}
	from.known, from.digest = true, d
	if m.commit == nil {
		return
	}
	m.compare(int(f.Sender), d)
	if m.err == nil && f.Payload()[sha256.Size] == isOver {
		for r := range m.done {
			m.done[r].known = true
		}
	}
	m.closeStep()
}

// compare fails the machine when a rank's digest is not this rank's.
func (m *Machine) compare(rank int, d digest) {
	if d != m.commit.digest {
		m.mismatch("the sums of step %d differ: digest %x at rank %d, %x at this rank with %d buckets",
			m.step, d[:4], rank, m.commit.digest[:4], len(m.buckets))
	}
}

// closeStep commits the open step once all ranks are done with it.
func (m *Machine) closeStep() {
	if m.err != nil || m.commit == nil {
		return
	}
	for r, d := range m.done {
		if r != m.c.Rank && !d.known {
			return
		}
	}
	m.out.Completed = append(m.out.Completed, Completion{Step: m.step, Commit: true})
	m.committed, m.last, m.digest = true, m.step, m.commit.digest
	m.open, m.commit = false, nil
	for _, b := range m.buckets {
		b.release()
		if b.share == nil {
			m.spare = append(m.spare, b)
		}
	}
	clear(m.buckets)
	m.held, m.pieces = 0, 0
	clear(m.done)
	m.replay()
	m.overflowed = m.overflowed && len(m.early) > 0
}

// query asks the ranks that have not said that they are done, and another one with each question: should that one have
// committed the step, its word stands for all.
func (m *Machine) query() {
	m.again(&m.commit.ask, 0)
	another := (m.c.Rank + 1 + m.commit.ask.level) % m.c.Size
	for r, d := range m.done {
		if r != m.c.Rank && (!d.known || r == another) {
			m.send(r, m.c.Pool.New(m.header(frame.Query), 0))
		}
	}
}

// silent lists the ranks that have not said that they are done.
func (m *Machine) silent() string {
	var ranks []string
	for r, d := range m.done {
		if r != m.c.Rank && !d.known {
			ranks = append(ranks, strconv.Itoa(r))
		}
	}
	return strings.Join(ranks, ", ")
}
