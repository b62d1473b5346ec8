package train

import (
	"context"
	"fmt"
	"math"
	"sync"

	"pupil/allreduce"
	"pupil/internal/kernel"
)

// exchange collects the lanes' gradients and statistics of one step as fixed-point integers and sends each bucket around
// the ring as soon as the last lane has given its part.
type exchange struct {
	layout  *layout
	lanes   int // carried here
	scales  Scales
	reducer Reducer

	// of the step
	step      uint64
	exponents []int // by tensor; known to all workers before the step
	group     *taskGroup
	sums      []sum
}

// sum is a bucket's: its values, then a count of saturated values for each tensor. One of the slices is in use.
type sum struct {
	mu    sync.Mutex
	given int // lanes that have given their part
	wide  []int32
	short []int16
}

// scratch is where a lane makes integers of its part of a bucket.
type scratch struct {
	wide  []int32
	short []int16
}

func newExchange(l *layout, s Scales, carried int, r Reducer) *exchange {
	e := &exchange{layout: l, lanes: carried, scales: s, reducer: r}
	e.sums = make([]sum, len(l.buckets))
	for i, b := range l.buckets {
		if e.short(b) {
			e.sums[i].short = make([]int16, b.length())
		} else {
			e.sums[i].wide = make([]int32, b.length())
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
func (e *exchange) newScratch() (s scratch) {
	for i := range e.sums {
		if n := len(e.sums[i].wide); n > len(s.wide) {
			s.wide = make([]int32, n)
		}
		if n := len(e.sums[i].short); n > len(s.short) {
			s.short = make([]int16, n)
		}
	}
	return s
}

// begin starts a step. Reductions run in group and end with it.
func (e *exchange) begin(step int, exponents []int, group *taskGroup) {
	e.step, e.exponents, e.group = uint64(step), exponents, group
	for i := range e.sums {
		clear(e.sums[i].wide)
		clear(e.sums[i].short)
		e.sums[i].given = 0
	}
	if e.lanes == 0 {
		for i := range e.sums {
			e.launch(i)
		}
	}
}

// give adds a lane's part of a bucket.
func (e *exchange) give(b int, l *lane) error {
	s := &e.sums[b]
	convert := e.toWide
	if s.short != nil {
		convert = e.toShort
	}
	if err := convert(e.layout.buckets[b], l); err != nil {
		return err
	}
	s.mu.Lock()
	kernel.AddFixed32(s.wide, l.scratch.wide[:len(s.wide)])
	kernel.AddFixed16(s.short, l.scratch.short[:len(s.short)])
	s.given++
	last := s.given == e.lanes
	s.mu.Unlock()
	if last {
		e.launch(b)
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

func (e *exchange) launch(b int) {
	e.group.run(func(ctx context.Context) (err error) {
		if s := &e.sums[b]; s.short != nil {
			err = e.reducer.ReduceInt16(ctx, e.step, uint32(b), s.short)
		} else {
			err = e.reducer.ReduceInt32(ctx, e.step, uint32(b), s.wide)
		}
		if err != nil {
			return fmt.Errorf("all-reduce of bucket %d: %w", b, err)
		}
		return nil
	})
}

// result writes the sums over all lanes in real units, and tells of each tensor the largest magnitude and the number of
// values that saturated.
func (e *exchange) result(gradients, statistics []float32, largest []float64, saturated []int) {
	for b, spec := range e.layout.buckets {
		s := &e.sums[b]
		at := 0
		for i := spec.first; i < spec.last; i++ {
			dst := e.layout.slice(i, gradients, statistics)
			count := spec.values + i - spec.first
			var most int64
			if s.short != nil {
				src := s.short[at:][:len(dst)]
				kernel.FromFixed16(dst, src, e.exponents[i])
				most, saturated[i] = magnitude(src), int(s.short[count])
			} else {
				src := s.wide[at:][:len(dst)]
				kernel.FromFixed32(dst, src, e.exponents[i])
				most, saturated[i] = magnitude(src), int(s.wide[count])
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
