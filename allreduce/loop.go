package allreduce

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// loop drives a machine. It is the only one to touch it.
type loop struct {
	r         *Ring
	m         *machine.Machine
	waiting   map[machine.Completion]*call
	timer     *time.Timer
	committed bool // in this turn
}

// minEarly is the room for messages of a step or bucket that was not started here, in bytes, at least.
const minEarly = 16 << 20

func newLoop(r *Ring) *loop {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &loop{
		r: r, waiting: map[machine.Completion]*call{}, timer: timer, m: machine.New(machineConfig(r.c, r.pool)),
	}
}

func machineConfig(c Config, p *frame.Pool) machine.Config {
	return machine.Config{
		Job: frame.Checksum([]byte(c.Job)), Generation: c.Generation, Rank: c.Rank, Size: c.Size, Deadline: c.Deadline,
		ChunkBytes: c.ChunkBytes, Window: c.Window, EarlyBytes: max(minEarly, 2*c.InFlight()), Wide: c.Wide, Pool: p,
	}
}

// run turns until the ring has failed or ctx has ended, and returns what Run must. The outbox then holds what the other
// ranks must still be told.
func (l *loop) run(ctx context.Context) error {
	defer l.timer.Stop()
	for l.m.Err() == nil {
		select {
		case f := <-l.r.inbox:
			l.r.meter.Woke(l.now())
			l.m.Receive(l.now(), f)
		case c := <-l.r.calls:
			l.r.meter.Woke(l.now())
			l.begin(c)
		case <-l.timer.C:
			l.r.meter.Woke(l.now())
			l.tick()
		case <-l.r.failed:
			l.m.Fail(l.r.cause)
		case <-ctx.Done():
			return l.leave(ctx)
		}
		l.flush()
		l.r.meter.Turn(l.now(), l.m.State(), l.committed)
	}
	l.r.fail(l.explain(l.m.Err()))
	return l.r.cause
}

// tick lets the machine's time pass. Messages that came while this process was held up go first: they are progress.
func (l *loop) tick() {
	for {
		select {
		case f := <-l.r.inbox:
			l.m.Receive(l.now(), f)
			continue
		default:
		}
		break
	}
	l.m.Tick(l.now())
}

func (l *loop) now() time.Duration { return l.r.clock.now() }

// clock tells how long a ring has been.
type clock struct{ born time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() time.Duration { return time.Since(c.born) }

// begin starts a call. The call's hold of its memory ends here; the machine has taken its own.
func (l *loop) begin(c *call) {
	defer c.data.Release()
	var err error
	switch x := c.completion; {
	case x.Commit:
		err = l.m.Commit(l.now(), x.Step)
	case c.sharing != nil:
		err = l.m.Share(l.now(), x.Step, x.Bucket, c.data, c.sharing.hash, c.sharing.most)
	default:
		err = l.m.Start(l.now(), x.Step, x.Bucket, c.dtype, c.data)
	}
	if err != nil { // of this call; another of the same step and bucket may wait
		c.done <- err
		return
	}
	l.waiting[c.completion] = c
}

// flush hands on what the machine put out.
func (l *loop) flush() {
	out := l.m.Take()
	l.r.outbox.put(out.Sends)
	l.committed = false
	for _, x := range out.Completed {
		l.committed = l.committed || x.Commit
		if c := l.waiting[x]; c != nil {
			delete(l.waiting, x)
			if c.sharing != nil {
				c.done <- c.sharing.take(l.m, x.Bucket)
				continue
			}
			c.done <- nil
		}
	}
	if at, ok := l.m.Next(); ok {
		l.timer.Reset(max(0, at-l.now()))
	} else {
		l.timer.Stop()
	}
	l.publish()
}

func (l *loop) publish() {
	s := l.m.Stats()
	l.r.statsMu.Lock()
	defer l.r.statsMu.Unlock()
	l.r.stats = Stats{
		Sent: s.Sent, Received: s.Received, SentBytes: s.SentBytes, ReceivedBytes: s.ReceivedBytes,
		Duplicates: s.Duplicates, Stale: s.Stale, Early: s.Early, Dropped: s.Dropped, Asked: s.Asked, Resent: s.Resent,
		Held: l.m.Held(),
	}
}

// leave ends the ring because its context has ended. Only if calls wait do the other ranks need to know.
func (l *loop) leave(ctx context.Context) error {
	err := l.r.leave(ctx)
	if len(l.waiting) > 0 || err != nil {
		l.m.Fail(l.r.cause)
	} else {
		l.m.Leave(l.r.cause)
	}
	l.flush()
	return err
}

// explain adds the link's latest trouble to an error that it may have caused.
func (l *loop) explain(err error) error {
	if trouble := l.r.trouble.Load(); trouble != nil {
		return fmt.Errorf("%w (the link's latest trouble: %w)", err, *trouble)
	}
	return err
}

// lastWords is how long one message may take once the ring has ended.
const lastWords = 100 * time.Millisecond

// finish waits until all is sent. What a rank that stands still holds up is interrupted.
func (r *Ring) finish(sent <-chan struct{}) {
	l, ok := r.link.(Interrupter)
	if !ok {
		return
	}
	ticker := time.NewTicker(lastWords)
	defer ticker.Stop()
	for before := int64(-1); ; {
		select {
		case <-sent:
			return
		case <-ticker.C:
			now := r.transmitted.Load()
			if now == before {
				l.Interrupt()
			}
			before = now
		}
	}
}

// outbox is a queue of messages between the loop, which never waits, and the sender. The protocol bounds its length.
type outbox struct {
	mu     sync.Mutex
	filled sync.Cond
	queue  []machine.Send
	first  int // of the queue; what is before it was taken
	closed bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.filled.L = &o.mu
	return o
}

func (o *outbox) put(sends []machine.Send) {
	if len(sends) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if sends[0].Frame.Kind == frame.Abort { // nothing before it matters any more
		for _, s := range o.queue[o.first:] {
			s.Frame.Release()
		}
		clear(o.queue)
		o.queue, o.first = o.queue[:0], 0
	}
	if o.first > 0 && len(o.queue)+len(sends) > cap(o.queue) {
		n := copy(o.queue, o.queue[o.first:])
		clear(o.queue[n:])
		o.queue, o.first = o.queue[:n], 0
	}
	for _, s := range sends {
		if s.Frame.Attempt > 0 && o.waits(s) {
			s.Frame.Release()
			continue
		}
		o.queue = append(o.queue, s)
	}
	o.filled.Signal()
}

// waits tells whether a chunk, or a piece of a state, that was asked for has not even been sent for the first time. The caller holds o.mu.
func (o *outbox) waits(s machine.Send) bool {
	if s.Frame.Kind != frame.Data && s.Frame.Kind != frame.Part {
		return false
	}
	return slices.ContainsFunc(o.queue[o.first:], func(q machine.Send) bool {
		a, b := q.Frame.Header, s.Frame.Header
		return q.To == s.To && a.Kind == b.Kind && a.Step == b.Step && a.Bucket == b.Bucket && a.Chunk == b.Chunk &&
			a.Contributors == b.Contributors
	})
}

// take waits for the next message. ok is false when the outbox is closed and empty.
func (o *outbox) take() (s machine.Send, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) == o.first && !o.closed {
		o.filled.Wait()
	}
	if len(o.queue) == o.first {
		return machine.Send{}, false
	}
	s = o.queue[o.first]
	o.queue[o.first] = machine.Send{} // let go of the buffer
	o.first++
	if o.first == len(o.queue) {
		o.queue, o.first = o.queue[:0], 0
	}
	return s, true
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.filled.Signal()
}
