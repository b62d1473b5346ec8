package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
	"pupil/allreduce/internal/meter"
)

// Errors of calls. A ring that has failed stays so; what comes next is a ring of a new generation.
var (
	// ErrDeadline tells that nothing came for as long as Config.Deadline.
	ErrDeadline = machine.ErrDeadline
	// ErrMismatch tells that ranks differ in their configuration, steps, buckets, lengths or sums.
	ErrMismatch = machine.ErrMismatch
	// ErrOverflow tells that a sum of ReduceInt16 is beyond 16 bits.
	ErrOverflow = machine.ErrOverflow
	// ErrAborted tells that this rank or another aborted or failed; the cause is in its text and, if it was given to
	// Abort here, in its chain.
	ErrAborted = machine.ErrAborted
	// ErrClosed tells that Run has returned because its context ended.
	ErrClosed = errors.New("the ring is closed")
)

// Ring is one rank's end of an all-reduce. Its methods are safe for concurrent use.
type Ring struct {
	c       Config
	link    Link // nil for a ring of one
	calls   chan *call
	inbox   chan frame.Frame
	outbox  *outbox
	trouble atomic.Pointer[error] // the link's latest
	corrupt atomic.Int64
	started atomic.Bool

	transmitted atomic.Int64 // messages that were handed to the link

	once   sync.Once
	failed chan struct{} // closed when cause is set
	cause  error         // why all calls fail

	pool  *frame.Pool
	meter meter.Meter
	clock clock

	statsMu sync.Mutex
	stats   Stats // but for Corrupt and the pool's
	solo    *solo // a ring of one
}

// call is a Reduce or Commit on its way through the loop.
type call struct {
	completion machine.Completion
	dtype      frame.DType
	data       *frame.Buffer // held for as long as the call is on its way to the loop
	sharing    *sharing      // of a Share
	done       chan error    // of one element: the loop never waits
}

// New returns a ring over a link, which is nil for a ring of one. The ring does not close the link. Calls wait until
// Run runs.
func New(link Link, c Config) (*Ring, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	c = c.WithDefaults()
	r := &Ring{
		c: c, link: link, failed: make(chan struct{}), calls: make(chan *call), inbox: make(chan frame.Frame, inboxLength),
		outbox: newOutbox(), pool: &frame.Pool{}, clock: newClock(),
	}
	if c.Size == 1 {
		r.solo = newSolo(c)
		return r, nil
	}
	if link == nil {
		return nil, fmt.Errorf("ring: %d ranks need a link", c.Size)
	}
	if err := c.fits(link.Limits()); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	return r, nil
}

// inboxLength is how many checked messages may wait for the loop; more wait in the link.
const inboxLength = 16

// ReduceInt32 replaces v by its sum over all ranks, element by element, modulo 2^32: exact as long as the sums fit.
// Every rank calls it once for a step and bucket, with vectors of one length; buckets of a step may be reduced at the
// same time and in any order. It returns when v holds the sums, or with an error: then v is undefined and the ring has
// failed on all ranks, but for errors of a wrong call (an old step, a bucket twice), which leave both as they were.
// When ctx ends, the ring is aborted, since the other ranks can no longer get their sums.
func (r *Ring) ReduceInt32(ctx context.Context, step uint64, bucket uint32, v []int32) error {
	return reduce(ctx, r, step, bucket, frame.Int32, v)
}

// ReduceInt16 is ReduceInt32 for sums of 16 bits, in half the bytes. A sum that does not fit, of all ranks or of those
// that it has passed, is ErrOverflow on all ranks; Scaler.Limit rules that out.
func (r *Ring) ReduceInt16(ctx context.Context, step uint64, bucket uint32, v []int16) error {
	return reduce(ctx, r, step, bucket, frame.Int16, v)
}

// ReduceInt64 is ReduceInt32 for int64, modulo 2^64.
func (r *Ring) ReduceInt64(ctx context.Context, step uint64, bucket uint32, v []int64) error {
	return reduce(ctx, r, step, bucket, frame.Int64, v)
}

// reduce sums v in place: the loop reads and writes its memory until the call ends, and no longer.
func reduce[T int16 | int32 | int64](ctx context.Context, r *Ring, step uint64, bucket uint32, t frame.DType, v []T) error {
	if err := checkLength(len(v)); err != nil {
		return fmt.Errorf("step %d, bucket %d: %w", step, bucket, err)
	}
	if r.solo != nil {
		return r.alone(ctx, func(m *machine.Machine) error { return m.Start(0, step, bucket, t, nil) })
	}
	c := newCall(machine.Completion{Step: step, Bucket: bucket}, t, nil)
	bytes, ok := frame.Lend(v)
	if !ok { // another order of bytes: a copy
		c.data = r.pool.Get(len(v) * t.Size())
		defer c.data.Release()
		frame.Put(c.data.Bytes, v)
		if err := r.do(ctx, c); err != nil {
			return err
		}
		frame.Get(v, c.data.Bytes)
		return nil
	}
	back := make(chan struct{})
	data := r.pool.Adopt(bytes, func([]byte) { close(back) })
	c.data = data
	err := r.do(ctx, c)
	data.Release()
	<-back // after an error the loop may still be adding; it lets go at once
	return err
}

// Commit ends a step: it returns nil once every rank has called it and all have reduced the same sums. Call it after
// all Reduce calls of the step have returned; the next step can begin then. Steps rise, in general by one. The inputs
// are kept until then, so that a rank that lost a message can still be served.
//
// nil on one rank says that every rank has all sums of the step. It does not say that Commit returns nil on every
// rank: a rank that is cut off from all others at this very moment ends with ErrDeadline.
func (r *Ring) Commit(ctx context.Context, step uint64) error {
	if r.solo != nil {
		return r.alone(ctx, func(m *machine.Machine) error { return m.Commit(0, step) })
	}
	return r.do(ctx, newCall(machine.Completion{Step: step, Commit: true}, 0, nil))
}

// checkLength bounds a vector, so that its length in bytes fits an int and its length the header.
func checkLength(n int) error {
	if int64(n) >= 1<<31 {
		return fmt.Errorf("a vector of %d elements; at most %d can be reduced", n, 1<<31-1)
	}
	return nil
}

func newCall(c machine.Completion, t frame.DType, data *frame.Buffer) *call {
	return &call{completion: c, dtype: t, data: data, done: make(chan error, 1)}
}

// do hands a call to the loop and waits for its end. Only the loop and the machine know c.data until then.
func (r *Ring) do(ctx context.Context, c *call) error {
	select {
	case <-r.failed:
		return r.cause
	default:
	}
	if ctx.Err() != nil { // the others must not get a sum of which this rank says that it is off
		return r.giveUp(ctx, c)
	}
	c.data.Keep()
	select {
	case r.calls <- c:
	case <-r.failed:
		c.data.Release()
		return r.cause
	case <-ctx.Done():
		c.data.Release()
		return r.giveUp(ctx, c)
	}
	select {
	case err := <-c.done:
		return err
	case <-r.failed:
	case <-ctx.Done():
	}
	select {
	case err := <-c.done: // it had ended before
		return err
	case <-r.failed:
		return r.cause
	default:
		return r.giveUp(ctx, c)
	}
}

// giveUp aborts the ring because a call's context has ended.
func (r *Ring) giveUp(ctx context.Context, c *call) error {
	what := fmt.Sprintf("reduce of step %d, bucket %d", c.completion.Step, c.completion.Bucket)
	if c.completion.Commit {
		what = fmt.Sprintf("commit of step %d", c.completion.Step)
	}
	err := fmt.Errorf("%s: %w", what, context.Cause(ctx))
	r.Abort(err)
	return err
}

// Abort ends all calls, now and later, with cause, and tells the other ranks. Only the first cause counts.
func (r *Ring) Abort(cause error) {
	if cause == nil {
		cause = errors.New("no cause was given")
	}
	r.fail(fmt.Errorf("%w: %w", ErrAborted, cause))
}

// fail sets the cause and wakes everyone, unless there was one before.
func (r *Ring) fail(err error) (first bool) {
	r.once.Do(func() {
		r.cause, first = err, true
		close(r.failed)
	})
	return first
}

// Err is why the ring has failed, or nil.
func (r *Ring) Err() error {
	select {
	case <-r.failed:
		return r.cause
	default:
		return nil
	}
}

// Run moves the messages until ctx ends, then it returns nil and later calls return ErrClosed, or until the ring fails,
// then it returns why. If calls wait when ctx ends, the other ranks are told; otherwise a ring leaves silently, since
// the others have all that they need. Run starts a goroutine that receives and one that sends and returns after both
// have ended. It can be called once.
func (r *Ring) Run(ctx context.Context) error {
	if !r.started.CompareAndSwap(false, true) {
		return errors.New("ring: Run was called before")
	}
	if r.solo != nil {
		select {
		case <-ctx.Done():
			return r.leave(ctx)
		case <-r.failed:
			return r.cause
		}
	}
	receiving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { r.receive(receiving) })
	sent := make(chan struct{})
	group.Go(func() { defer close(sent); r.transmit() })
	err := newLoop(r).run(ctx)
	stop()
	r.outbox.close()
	r.finish(sent)
	group.Wait()
	for len(r.inbox) > 0 {
		f := <-r.inbox
		f.Release()
	}
	r.pool.Close()
	return err
}

// leave ends the calls because Run's context has ended, which is no error of Run unless the ring had failed before.
func (r *Ring) leave(ctx context.Context) error {
	if r.fail(fmt.Errorf("%w: %w", ErrClosed, context.Cause(ctx))) {
		return nil
	}
	return r.cause
}

// receive checks messages and hands them to the loop until ctx ends.
func (r *Ring) receive(ctx context.Context) {
	var home func([]byte)
	if l, ok := r.link.(Recycler); ok {
		home = l.Recycle
	}
	for {
		message, err := r.link.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if r.note(fmt.Errorf("receive: %w", err)) {
				return
			}
			continue
		}
		begin := r.clock.now()
		f, err := frame.Decode(message)
		r.meter.Checked(r.clock.now() - begin)
		if errors.Is(err, frame.ErrVersion) {
			r.fail(fmt.Errorf("%w: %w", ErrMismatch, err))
			return
		}
		if err != nil {
			r.corrupt.Add(1)
			continue
		}
		f = f.Adopt(r.pool, home)
		select {
		case r.inbox <- f:
		case <-ctx.Done():
			f.Release()
			return
		}
	}
}

// transmit sends what is in the outbox until that is closed and empty.
func (r *Ring) transmit() {
	for {
		s, ok := r.outbox.take()
		if !ok {
			return
		}
		begin := r.clock.now()
		err := r.link.Send(s.To, s.Frame.Encode())
		s.Frame.Release()
		r.transmitted.Add(1)
		r.meter.Sent(r.clock.now() - begin)
		if err != nil {
			r.note(fmt.Errorf("send to rank %d: %w", s.To, err))
		}
	}
}

// note remembers the link's trouble for the text of a later error. The link's end is the ring's too.
func (r *Ring) note(err error) (closed bool) {
	r.trouble.Store(&err)
	if errors.Is(err, ErrLinkClosed) {
		r.fail(err)
		return true
	}
	return false
}

// Stats counts what a ring has seen and done since New.
type Stats struct {
	Sent, Received           int64 // messages; received ones whole
	SentBytes, ReceivedBytes int64 // of these, with headers
	Corrupt                  int64 // messages that were damaged
	Duplicates               int64 // chunks that were there already
	Stale                    int64 // messages of another job or generation, or of a step that is over
	Early                    int64 // messages of a step or bucket not yet started here: kept
	Dropped                  int64 // the same, but there was no room
	Asked                    int64 // questions for what did not come
	Resent                   int64 // chunks sent again because another rank asked
	Held                     int   // bytes of vectors and messages that are kept now
	Lent                     int   // buffers of vectors and messages that are in use now, also those of calls and the link
	Idle                     int   // bytes of buffers that wait to be used again
}

// Stats returns the counters as of the last turn of the loop.
func (r *Ring) Stats() Stats {
	r.statsMu.Lock()
	s := r.stats
	r.statsMu.Unlock()
	s.Corrupt = r.corrupt.Load()
	p := r.pool.Stats()
	s.Lent, s.Idle = p.Lent, p.IdleBytes
	return s
}
