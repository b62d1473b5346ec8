package train

import (
	"context"
	"sync"
)

// taskGroup runs the goroutines of one step. The first error cancels the others.
type taskGroup struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newTaskGroup(parent context.Context) *taskGroup {
	ctx, cancel := context.WithCancelCause(parent)
	return &taskGroup{ctx: ctx, cancel: cancel}
}

// run starts f in a goroutine of the group. It may be called from one of the group's goroutines.
func (g *taskGroup) run(f func(ctx context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil {
			g.cancel(err)
		}
	})
}

// wait returns after all goroutines have ended: the first error, or the cause of the parent's end.
func (g *taskGroup) wait() error {
	g.wg.Wait()
	err := context.Cause(g.ctx)
	g.cancel(nil)
	return err
}
