package train

import (
	"context"
	"errors"
	"sync"

	"pupil/loss"
)

// taskGroup runs the goroutines of one step. The first error cancels the others, but for one that only says that another
// lane is at fault (loss.ErrElsewhere): that lane's own comes too, and tells more.
type taskGroup struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	elsewhere error
}

func newTaskGroup(parent context.Context) *taskGroup {
	ctx, cancel := context.WithCancelCause(parent)
	return &taskGroup{ctx: ctx, cancel: cancel}
}

// run starts f in a goroutine of the group. It may be called from one of the group's goroutines.
func (g *taskGroup) run(f func(ctx context.Context) error) {
	g.wg.Go(func() {
		err := f(g.ctx)
		switch {
		case err == nil:
		case errors.Is(err, loss.ErrElsewhere):
			g.mu.Lock()
			g.elsewhere = err
			g.mu.Unlock()
		default:
			g.cancel(err)
		}
	})
}

// wait returns after all goroutines have ended: the first error, or the cause of the parent's end.
func (g *taskGroup) wait() error {
	g.wg.Wait()
	err := context.Cause(g.ctx)
	if err == nil {
		err = g.elsewhere
	}
	g.cancel(nil)
	return err
}
