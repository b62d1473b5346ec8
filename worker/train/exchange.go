package train

import (
	"context"
	"fmt"
	"math"
	"sync"

	"pupil/internal/kernel"
)

// exchange collects the lanes' gradients and statistics of one step as fixed-point integers and sends each bucket around
// the ring as soon as the last lane has given its part.
type exchange struct {
	layout  *layout
	lanes   int   // carried here
	limit   int32 // of one lane's value, so that the sum over the job's lanes fits an int32
	reducer Reducer

	// of the step
	step      uint64
	exponents []int // by tensor; known to all workers before the step
	group     *taskGroup
	sums      []sum
}

type sum struct {
	mu     sync.Mutex
	given  int // lanes that have given their part
	values []int32
}

func newExchange(l *layout, limit int32, carried int, r Reducer) *exchange {
	e := &exchange{layout: l, lanes: carried, limit: limit, reducer: r}
	e.sums = make([]sum, len(l.buckets))
	for i, b := range l.buckets {
		e.sums[i].values = make([]int32, b.length())
	}
	return e
}

// begin starts a step. Reductions run in group and end with it.
func (e *exchange) begin(step int, exponents []int, group *taskGroup) {
	e.step, e.exponents, e.group = uint64(step), exponents, group
	for i := range e.sums {
		clear(e.sums[i].values)
		e.sums[i].given = 0
	}
	if e.lanes == 0 {
		for i := range e.sums {
			e.launch(i)
		}
	}
}

// give adds a lane's part of a bucket. scratch holds at least the bucket's length.
func (e *exchange) give(b int, gradients, statistics []float32, scratch []int32) error {
	spec := e.layout.buckets[b]
	scratch = scratch[:spec.length()]
	at := 0
	for i := spec.first; i < spec.last; i++ {
		src := e.layout.slice(i, gradients, statistics)
		if k := nonFinite(src); k >= 0 {
			return fmt.Errorf("%w: %s, element %d is %v", errNonFinite, e.layout.tensors[i].name, k, src[k])
		}
		saturated := kernel.ToFixed32(scratch[at:][:len(src)], src, e.exponents[i], e.limit)
		scratch[spec.values+i-spec.first] = int32(saturated)
		at += len(src)
	}
	s := &e.sums[b]
	s.mu.Lock()
	kernel.AddFixed32(s.values, scratch)
	s.given++
	last := s.given == e.lanes
	s.mu.Unlock()
	if last {
		e.launch(b)
	}
	return nil
}

func (e *exchange) launch(b int) {
	e.group.run(func(ctx context.Context) error {
		if err := e.reducer.ReduceInt32(ctx, e.step, uint32(b), e.sums[b].values); err != nil {
			return fmt.Errorf("all-reduce of bucket %d: %w", b, err)
		}
		return nil
	})
}

// result writes the sums over all lanes in real units, and tells of each tensor the largest magnitude and the number of
// values that saturated.
func (e *exchange) result(gradients, statistics []float32, largest []float64, saturated []int) {
	for b, spec := range e.layout.buckets {
		at := 0
		for i := spec.first; i < spec.last; i++ {
			dst := e.layout.slice(i, gradients, statistics)
			src := e.sums[b].values[at:][:len(dst)]
			kernel.FromFixed32(dst, src, e.exponents[i])
			largest[i] = math.Ldexp(float64(magnitude(src)), e.exponents[i])
			saturated[i] = int(e.sums[b].values[spec.values+i-spec.first])
			at += len(dst)
		}
	}
}

// magnitude is the largest absolute value of v.
func magnitude(v []int32) int64 {
	var low, high int32
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
