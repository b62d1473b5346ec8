package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"pupil/allreduce"
	"pupil/internal/kernel"
)

// exchange is where the lanes' parts of one step meet: each vector is summed over the lanes of this worker, and as soon
// as the last lane has given its part, over all workers. The step may go on in another generation: then what the lanes
// have given stays, and is summed anew over the workers that are there.
type exchange struct {
	layout    *layout
	scales    Scales
	exponents []int // by tensor; known to all workers before the step
	buckets   []bucketSum
	overlap   overlap
	trace     Trace // of the step; nil: none

	mu      sync.Mutex
	calls   []*vector[int64] // of the loss, in the order of its calls
	attempt *attempt         // nil between two generations
}

// bucketSum is a bucket's: its values, then a count of saturated values for each tensor. One of the two is there.
type bucketSum struct {
	wide  *vector[int32]
	short *vector[int16]
}

// scratch is where a lane makes integers of its part of a bucket.
type scratch struct {
	wide  []int32
	short []int16
}

// attempt is a generation's try at a step.
type attempt struct {
	reducer Reducer
	step    uint64 // of the ring
	lanes   int    // whose parts are due from this worker
	group   *taskGroup
}

type number interface{ int16 | int32 | int64 }

// vector is one of the step's sums.
type vector[T number] struct {
	mu       sync.Mutex
	mine     []T      // sum over the lanes that have given
	given    int      // lanes
	launched *attempt // that sums it over all workers
	total    []T      // over all lanes of the job
	known    bool
	ready    chan struct{} // closed when total is known
}

func newVector[T number](n int) *vector[T] {
	return &vector[T]{mine: make([]T, n), total: make([]T, n), ready: make(chan struct{})}
}

// reset forgets the step before. No call may be under way.
func (v *vector[T]) reset() {
	clear(v.mine)
	v.given, v.launched = 0, nil
	if v.known {
		v.known, v.ready = false, make(chan struct{})
	}
}

func newExchange(l *layout, s Scales) *exchange {
	e := &exchange{layout: l, scales: s}
	for _, b := range l.buckets {
		if e.short(b) {
			e.buckets = append(e.buckets, bucketSum{short: newVector[int16](b.length())})
		} else {
			e.buckets = append(e.buckets, bucketSum{wide: newVector[int32](b.length())})
		}
	}
	return e
}

// short says whether a bucket's sums have 16 bits.
func (e *exchange) short(b bucket) bool {
	return !b.statistics && e.scales.Gradients.Format() == allreduce.Fixed16
}

// limit is the largest magnitude of a lane's integer in a bucket, so that the sum over the job's lanes fits.
func (e *exchange) limit(b bucket) int32 {
	if b.statistics {
		return e.scales.Statistics.Limit()
	}
	return e.scales.Gradients.Limit()
}

// newScratch has room for any bucket.
func (e *exchange) newScratch() scratch {
	var wide, short int
	for _, b := range e.layout.buckets {
		if e.short(b) {
			short = max(short, b.length())
		} else {
			wide = max(wide, b.length())
		}
	}
	return scratch{make([]int32, wide), make([]int16, short)}
}

// begin forgets the step before. No call may be under way.
func (e *exchange) begin(exponents []int) {
	e.exponents, e.calls = exponents, nil
	for _, s := range e.buckets {
		if s.short != nil {
			s.short.reset()
		} else {
			s.wide.reset()
		}
	}
}

// enter sums in a generation what is there already, and what comes.
func (e *exchange) enter(a *attempt) {
	e.mu.Lock()
	e.attempt = a
	calls := slices.Clone(e.calls)
	e.mu.Unlock()
	for b := range e.buckets {
		e.add(b, 0, scratch{})
	}
	for c, v := range calls {
		v.mu.Lock()
		e.launchCall(c, v)
		v.mu.Unlock()
	}
}

// leave ends the attempt, and returns when nothing of it is under way.
func (e *exchange) leave() error {
	e.mu.Lock()
	a := e.attempt
	e.attempt = nil
	e.mu.Unlock()
	return a.group.wait()
}

// give adds a lane's part of a bucket.
func (e *exchange) give(b int, l *lane) error {
	convert := e.toWide
	if e.buckets[b].short != nil {
		convert = e.toShort
	}
	if err := convert(e.layout.buckets[b], l); err != nil {
		return err
	}
	e.add(b, 1, l.scratch)
	return nil
}

// giveNothing takes part in all buckets for a worker without lanes.
func (e *exchange) giveNothing() {
	for b := range e.buckets {
		e.add(b, 1, scratch{})
	}
}

// add counts some more lanes that have given their part of a bucket, which scratch holds unless it is empty.
func (e *exchange) add(b, lanes int, x scratch) {
	if v := e.buckets[b].short; v != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(x.short) > 0 {
			kernel.AddFixed16(v.mine, x.short[:len(v.mine)])
		}
		v.given += lanes
		launch(e, v, func(ctx context.Context, a *attempt, x []int16) error {
			defer e.overlap.begin()()
			defer e.span(spanReduce, b, 2*len(x))()
			return named(b, a.reducer.ReduceInt16(ctx, a.step, uint32(b), x))
		})
		return
	}
	v := e.buckets[b].wide
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(x.wide) > 0 {
		kernel.AddFixed32(v.mine, x.wide[:len(v.mine)])
	}
	v.given += lanes
	launch(e, v, func(ctx context.Context, a *attempt, x []int32) error {
		defer e.overlap.begin()()
		defer e.span(spanReduce, b, 4*len(x))()
		return named(b, a.reducer.ReduceInt32(ctx, a.step, uint32(b), x))
	})
}

func named(bucket int, err error) error {
	if err != nil {
		return fmt.Errorf("all-reduce of bucket %d: %w", bucket, err)
	}
	return nil
}

// toWide makes integers of a lane's part of a bucket.
func (e *exchange) toWide(spec bucket, l *lane) error {
	at, dst := 0, l.scratch.wide
	for i := spec.first; i < spec.last; i++ {
		src := e.layout.slice(i, l.gradients, l.statistics)
		if k := nonFinite(src); k >= 0 {
			return e.notFinite(i, k, src[k])
		}
		saturated := kernel.ToFixed32(dst[at:][:len(src)], src, e.exponents[i], e.limit(spec))
		dst[spec.values+i-spec.first] = int32(saturated)
		at += len(src)
	}
	return nil
}

// toShort is toWide for 16 bits, with error feedback. A count of saturated values is at most the limit of a value: it
// must fit the sum as well, and that there are some is what counts.
func (e *exchange) toShort(spec bucket, l *lane) error {
	at, dst, limit := 0, l.scratch.short, int16(e.limit(spec))
	for i := spec.first; i < spec.last; i++ {
		src := e.layout.slice(i, l.gradients, nil)
		after := e.layout.slice(i, l.after, nil)
		saturated := kernel.ToFixed16(dst[at:][:len(src)], after, src, e.layout.slice(i, l.before, nil), e.exponents[i], limit)
		if k := nonFinite(after); k >= 0 { // what is not finite stays so
			return e.notFinite(i, k, src[k])
		}
		dst[spec.values+i-spec.first] = int16(min(saturated, int(limit)))
		at += len(src)
	}
	return nil
}

func (e *exchange) notFinite(tensor, element int, value float32) error {
	return fmt.Errorf("%w: %s, element %d is %v", errNonFinite, e.layout.tensors[tensor].name, element, value)
}

// sum replaces x by the sum of the loss's call over all lanes of the job. It blocks until every lane has come, also
// from one generation to the next.
func (e *exchange) sum(ctx context.Context, call int, x []int64) error {
	v := e.call(call, len(x))
	v.mu.Lock()
	if len(v.mine) != len(x) {
		v.mu.Unlock()
		return fmt.Errorf("lanes bring vectors of %d and %d elements to the same sum", len(v.mine), len(x))
	}
	for i, k := range x {
		v.mine[i] += k
	}
	v.given++
	e.launchCall(call, v)
	v.mu.Unlock()
	select {
	case <-v.ready:
		copy(x, v.total)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *exchange) call(call, n int) *vector[int64] {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.calls) <= call {
		e.calls = append(e.calls, newVector[int64](n))
	}
	return e.calls[call]
}

func (e *exchange) launchCall(call int, v *vector[int64]) {
	launch(e, v, func(ctx context.Context, a *attempt, x []int64) error {
		defer e.span(spanSum, -1, 8*len(x))()
		return a.reducer.ReduceInt64(ctx, a.step, bucketLoss+uint32(call), x)
	})
}

// launch sums a vector over all workers once its last lane has given. The caller holds v.mu.
func launch[T number](e *exchange, v *vector[T], reduce func(ctx context.Context, a *attempt, x []T) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.attempt
	if a == nil || v.launched == a || v.given < a.lanes {
		return
	}
	v.launched = a
	a.group.run(func(ctx context.Context) error {
		x := v.total
		if v.known { // since an earlier generation; the lanes may still read it
			x = make([]T, len(v.mine))
		}
		copy(x, v.mine)
		if err := reduce(ctx, a, x); err != nil {
			return err
		}
		if v.known {
			return v.compare(x)
		}
		v.known = true
		close(v.ready)
		return nil
	})
}

// compare holds a sum to the one of an earlier generation: the same lanes have given the same.
func (v *vector[T]) compare(x []T) error {
	if !slices.Equal(v.total, x) {
		return fmt.Errorf("%w: a sum of the step differs from that of the generation before", allreduce.ErrMismatch)
	}
	return nil
}

// result writes the sums over all lanes in real units, and tells of each tensor the largest magnitude and the number of
// values that saturated.
func (e *exchange) result(gradients, statistics []float32, largest []float64, saturated []int) {
	for b, spec := range e.layout.buckets {
		s := e.buckets[b]
		at := 0
		for i := spec.first; i < spec.last; i++ {
			dst := e.layout.slice(i, gradients, statistics)
			count := spec.values + i - spec.first
			var most int64
			if s.short != nil {
				src := s.short.total[at:][:len(dst)]
				kernel.FromFixed16(dst, src, e.exponents[i])
				most, saturated[i] = magnitude(src), int(s.short.total[count])
			} else {
				src := s.wide.total[at:][:len(dst)]
				kernel.FromFixed32(dst, src, e.exponents[i])
				most, saturated[i] = magnitude(src), int(s.wide.total[count])
			}
			largest[i] = math.Ldexp(float64(most), e.exponents[i])
			at += len(dst)
		}
	}
}

// magnitude is the largest absolute value of v.
func magnitude[T int16 | int32](v []T) int64 {
	var low, high T
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	return max(-int64(low), int64(high))
}

// nonFinite is the index of the first NaN or infinity, or -1.
func nonFinite(v []float32) int {
	for i, x := range v {
		if x-x != 0 {
			return i
		}
	}
	return -1
}
