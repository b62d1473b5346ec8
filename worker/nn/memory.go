package nn

import (
	"cmp"
	"math"
	"slices"
)

// memory is a buffer of a graph. Operations run in the order in which they are made, so it is known before the first
// run when each is written first and touched last; two that are never needed at the same time may share their place.
// The numbers of a run do not depend on the plan.
type memory struct {
	size        int // elements
	first, last int // operations that touch it; first is -1 for the caller's memory, which has no place in the plan
	data        []float32

	over   []*memory // whose place it takes, if the operation that writes it is the last that touches one of these
	within *memory   // the one whose place it took
	offset int       // of the plan, in elements
}

// reserve returns memory for n elements, and takes the place of one of over where that is possible: the operation that
// writes it must allow it.
func (g *graph) reserve(n int, over ...*memory) *memory {
	m := &memory{size: n, first: math.MaxInt}
	for _, o := range over {
		if o != nil { // an input's
			m.over = append(m.over, o)
		}
	}
	g.memories = append(g.memories, m)
	return m
}

// callers is memory of the caller.
func callers(data []float32) *memory { return &memory{size: len(data), first: -1, data: data} }

// part is a part of the caller's memory, which may be there only in a plan.
func (m *memory) part(from, n int) *memory {
	p := &memory{size: n, first: -1}
	if m.data != nil {
		p.data = m.data[from:][:n:n]
	}
	return p
}

// touch says that an operation reads or writes the memory.
func (m *memory) touch(id int) {
	m.first, m.last = min(m.first, id), max(m.last, id)
}

// place finds room for all memory, and returns how many elements that is. The room is the smaller of what two orders
// need: the largest first, and in the order of use (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference", 2020, compare such plans).
func place(all []*memory) int {
	roots := share(all)
	bySize := slices.Clone(roots)
	slices.SortStableFunc(bySize, func(a, b *memory) int { return cmp.Compare(b.size, a.size) })
	end := pack(roots)
	if n := pack(bySize); n < end {
		end = n
	} else {
		pack(roots)
	}
	for _, m := range all {
		if m.within != nil {
			m.offset = m.within.offset
		}
	}
	return end
}

// share lets memory take the place of what its operation is the last to read, and returns those that need a place.
func share(all []*memory) (roots []*memory) {
	for _, m := range all {
		for _, o := range m.over {
			if o.within != nil {
				o = o.within
			}
			if o.first >= 0 && o.last == m.first && o.size == m.size {
				m.within, o.last = o, m.last
				break
			}
		}
		if m.within == nil {
			roots = append(roots, m)
		}
	}
	return roots
}

// alignment of a place in elements: a line of the cache.
const alignment = 16

// pack gives each memory in turn the lowest place that is free while it is needed, and returns the end of the highest.
func pack(order []*memory) (end int) {
	var placed []*memory // by offset
	for _, m := range order {
		at := 0
		for _, p := range placed {
			if p.first > m.last || m.first > p.last {
				continue
			}
			if p.offset >= at+m.size {
				break
			}
			at = max(at, (p.offset+p.size+alignment-1)/alignment*alignment)
		}
		m.offset = at
		end = max(end, at+m.size)
		i, _ := slices.BinarySearchFunc(placed, at, func(p *memory, at int) int { return cmp.Compare(p.offset, at) })
		placed = slices.Insert(placed, i, m)
	}
	return end
}

// lay gives each memory its part of one new slice of n elements, which place has planned.
func lay(all []*memory, n int) {
	slab := make([]float32, n)
	adviseHugePages(slab)
	for _, m := range all {
		m.data = slab[m.offset:][:m.size:m.size]
	}
}
