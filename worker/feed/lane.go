package feed

import (
	"context"
	"fmt"
	"io"
)

// lane makes the batches of one lane, in the order of the steps.
type lane struct {
	number int
	ready  chan *Batch // closed after the last batch
	free   chan *Batch // released batches
	err    error       // why there are no more batches; it may be read when ready is closed
}

func newLane(number, prefetch int) *lane {
	return &lane{
		number: number,
		ready:  make(chan *Batch, prefetch-1), // the goroutine holds one more
		free:   make(chan *Batch, prefetch+1),
	}
}

func (l *lane) next(ctx context.Context) (*Batch, error) {
	select {
	case b, ok := <-l.ready:
		if !ok {
			return nil, l.err
		}
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run makes batches until the last step, a failure, or the end of ctx.
func (l *lane) run(ctx context.Context, f *Feed) {
	defer close(l.ready)
	l.err = l.steps(ctx, f)
}

func (l *lane) steps(ctx context.Context, f *Feed) error {
	perEpoch := f.config.Order.StepsPerEpoch()
	epoch, order := -1, []int(nil)
	asked, coming := f.first, f.config.Order.Cursor(l.number) // the steps whose images are asked for, also of the next epoch
	for step := f.first; step < f.last; step++ {
		var wanted []int
		for ; asked < min(step+f.config.Ahead+1, f.last); asked++ {
			_, numbers := coming.At(asked)
			wanted = append(wanted, numbers...)
		}
		f.ahead.want(wanted)
		if step/perEpoch != epoch {
			epoch, order = step/perEpoch, f.config.Order.Lane(step/perEpoch, l.number)
		}
		n := len(order) / perEpoch
		b := l.take(f, n)
		b.reset(step)
		b.recall(f.config.TeacherCache)
		if err := l.make(ctx, f, b, epoch, order, step%perEpoch*n); err != nil {
			return err
		}
		select {
		case l.ready <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return io.EOF
}

// take returns a batch that was released, or a new one.
func (l *lane) take(f *Feed, n int) *Batch {
	select {
	case b := <-l.free:
		return b
	default:
		return newBatch(l.number, n, f.config.Views, l.free)
	}
}

// make has the workers make all images of a batch, which begin at a position of the epoch's order.
func (l *lane) make(ctx context.Context, f *Feed, b *Batch, epoch int, order []int, position int) error {
	defer b.pending.Wait() // no worker writes into a batch that is given up
	for i := range b.Labels {
		b.pending.Add(1)
		select {
		case f.tasks <- task{b, i, epoch, order, position + i}:
		case <-ctx.Done():
			b.pending.Done()
			return context.Cause(ctx)
		}
	}
	b.pending.Wait()
	if err := b.finish(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("lane %d, step %d: %w", l.number, b.Step, err)
	}
	return nil
}
