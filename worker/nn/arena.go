package nn

import "slices"

// arena plans the buffers of a graph when it is built. Operations run in the order in which they are made, so a buffer
// whose last reader has been made can be given to the next operation. The numbers of a run do not depend on the plan.
type arena struct {
	free  [][]float32
	bytes int64
}

// get returns the smallest free buffer that holds n elements, of equal ones the last returned, or a new one.
func (a *arena) get(n int) []float32 {
	best := -1
	for i, b := range a.free {
		if cap(b) >= n && (best < 0 || cap(b) <= cap(a.free[best])) {
			best = i
		}
	}
	if best >= 0 {
		b := a.free[best]
		a.free = slices.Delete(a.free, best, best+1)
		return b[:n]
	}
	a.bytes += 4 * int64(n)
	return make([]float32, n)
}

// put takes a buffer back.
func (a *arena) put(b []float32) { a.free = append(a.free, b[:cap(b)]) }
