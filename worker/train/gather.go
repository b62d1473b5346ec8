package train

import (
	"context"
	"fmt"
	"sync"
)

// gather sums int64 vectors over the lanes of this worker, then over all workers: the last lane that arrives makes the
// call for all. Each lane must make the same sequence of calls.
type gather struct {
	lanes  int
	reduce func(ctx context.Context, call int, v []int64) error

	mu    sync.Mutex
	calls int
	open  *meeting
}

type meeting struct {
	sum     []int64
	arrived int
	done    chan struct{}
	err     error
}

// sum replaces v by the sum over all lanes of the job. It blocks until every lane has come.
func (g *gather) sum(ctx context.Context, v []int64) error {
	g.mu.Lock()
	if g.open == nil {
		g.open = &meeting{sum: make([]int64, len(v)), done: make(chan struct{})}
	}
	m := g.open
	if len(m.sum) != len(v) {
		g.mu.Unlock()
		return fmt.Errorf("lanes bring vectors of %d and %d elements to the same sum", len(m.sum), len(v))
	}
	for i, x := range v {
		m.sum[i] += x
	}
	m.arrived++
	if m.arrived < g.lanes {
		g.mu.Unlock()
		select {
		case <-m.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	} else {
		call := g.calls
		g.calls++
		g.open = nil
		g.mu.Unlock()
		m.err = g.reduce(ctx, call, m.sum)
		close(m.done)
	}
	copy(v, m.sum)
	return m.err
}

// reset begins a new step. No call may be under way.
func (g *gather) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls, g.open = 0, nil
}
