package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pupil/loss"
)

var errNonFinite = errors.New("a value is not finite")

// Trainer carries a worker's lanes through a job's steps.
type Trainer struct {
	config   Config
	state    *State
	loss     *loss.Loss
	layout   *layout
	exchange *exchange
	gather   *gather
	lanes    []*lane
	idle     *loss.Lane // takes part in the loss's sums for a worker without lanes
	places   chan struct{}
	saver    *saver

	gradients, statistics []float32 // sums over all lanes
	largest               []float64 // by tensor, of the step's sums
	saturated             []int     // by tensor
}

// New prepares a worker's part: a graph for each lane that it carries. state is changed by Run.
func New(c Config, state *State) (*Trainer, error) {
	if c.Threads < 1 {
		return nil, fmt.Errorf("train: threads is %d; it must be at least 1", c.Threads)
	}
	criterion, err := loss.New(c.Loss, c.Classes, c.Batch)
	if err != nil {
		return nil, err
	}
	t := &Trainer{
		config: c, state: state, loss: criterion, layout: newLayout(c.Student),
		places: make(chan struct{}, c.Threads), saver: newSaver(c.Saver),
	}
	t.gradients = make([]float32, t.layout.sizes[0])
	t.statistics = make([]float32, t.layout.sizes[1])
	t.largest = make([]float64, len(t.layout.tensors))
	t.saturated = make([]int, len(t.layout.tensors))
	t.exchange = newExchange(t.layout, state.Scaler.Limit(), len(c.Carried), c.Reducer)
	t.gather = &gather{lanes: max(1, len(c.Carried)), reduce: func(ctx context.Context, call int, v []int64) error {
		return c.Reducer.ReduceInt64(ctx, uint64(t.state.Step), bucketLoss+uint32(call), v)
	}}
	for _, n := range c.Carried {
		l, err := newLane(t, n, c.Batch/c.Lanes)
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("lane %d: %w", n, err)
		}
		t.lanes = append(t.lanes, l)
	}
	if len(t.lanes) == 0 {
		t.idle = criterion.Lane(0)
	}
	return t, nil
}

// Close releases the lanes' graphs.
func (t *Trainer) Close() {
	for _, l := range t.lanes {
		l.close()
	}
}

// Run makes steps until the job is done, a stop is asked for, or an error ends it. With an error the state is that of
// the last committed step or lies in the middle of an update: it must not be used; go on from a checkpoint.
func (t *Trainer) Run(ctx context.Context) (Outcome, error) {
	defer t.saver.wait()
	for t.state.Step < t.config.Steps {
		stop, err := t.step(ctx)
		if err != nil {
			return 0, err
		}
		done := t.state.Step
		last := stop || done == t.config.Steps
		if every := t.config.CheckpointStep; last || every > 0 && done%every == 0 {
			if err := t.saver.save(ctx, t.state); err != nil {
				return 0, err
			}
		}
		if stop && done < t.config.Steps {
			return Stopped, t.saver.wait()
		}
	}
	return Finished, t.saver.wait()
}

// progress is the share of the job's steps that are done.
func (t *Trainer) progress() float64 { return float64(t.state.Step) / float64(t.config.Steps) }

// step makes one step and says whether some worker was asked to stop.
func (t *Trainer) step(ctx context.Context) (stop bool, err error) {
	begin := time.Now()
	step := t.state.Step
	group := newTaskGroup(ctx)
	t.gather.reset()
	t.exchange.begin(step, t.state.Scaler.Exponents(), group)

	lanes := newTaskGroup(group.ctx)
	var result *loss.Result
	for _, l := range t.lanes {
		lanes.run(l.step)
	}
	if t.idle != nil {
		lanes.run(func(ctx context.Context) (err error) {
			result, err = t.idle.Evaluate(t.emptyBatch(), t.state.Prior, t.progress(), func(sums []int64) error {
				return t.gather.sum(ctx, sums)
			})
			return err
		})
	}
	if err := lanes.wait(); err != nil {
		group.cancel(err)
	}
	computed := time.Now()
	agreed := votes{skipped: t.skipped()}
	group.run(func(ctx context.Context) error { return agreed.exchange(ctx, t.config, step) })
	if err := group.wait(); err != nil {
		return false, fmt.Errorf("step %d: %w", step+1, err)
	}
	if t.idle == nil {
		result = t.lanes[0].result
	}
	if err := t.config.Reducer.Commit(ctx, uint64(step)); err != nil {
		return false, fmt.Errorf("step %d: commit: %w", step+1, err)
	}
	reduced := time.Now()
	rate := t.config.Schedule.Rate(step)
	saturated, err := t.update(result, rate)
	if err != nil {
		return false, fmt.Errorf("step %d: %w", step+1, err)
	}
	p := Progress{
		Step: t.state.Step, Total: t.config.Steps, Epoch: t.config.Epoch(step), LearningRate: rate,
		Loss: result.Loss, Terms: result.Terms, Health: result.Health,
		Images: t.config.Batch, Skipped: agreed.skipped, Saturated: saturated,
		Times: Times{
			Step: time.Since(begin).Seconds(), Reduce: reduced.Sub(computed).Seconds(), Update: time.Since(reduced).Seconds(),
		},
	}
	for _, l := range t.lanes {
		p.Times.Compute += l.clock.total.Seconds()
		p.Times.Input = max(p.Times.Input, l.waiting.Seconds())
	}
	t.config.Control.Committed(p)
	return agreed.stop, t.watchCollapse(result.Health)
}

func (t *Trainer) emptyBatch() loss.Batch {
	b := loss.Batch{Student: []float64{}, Labels: []int{}}
	if t.config.Teacher != nil {
		b.Teacher = []float64{}
	}
	return b
}

// skipped is the number of broken images that this worker's lanes replaced in the step.
func (t *Trainer) skipped() (n int) {
	for _, l := range t.lanes {
		n += l.skipped
	}
	return n
}

// update applies the sums of the step to the state. It returns the number of saturated values.
func (t *Trainer) update(result *loss.Result, rate float64) (saturated int, err error) {
	s := t.state
	t.exchange.result(t.gradients, t.statistics, t.largest, t.saturated)
	for i := range t.statistics { // the mean over lanes
		t.statistics[i] = float32(float64(t.statistics[i]) / float64(t.config.Lanes))
	}
	s.Optimizer.Step(s.Model.Params, t.gradients, s.Step, rate)
	t.config.Student.UpdateRunning(s.Model.Buffers, t.statistics)
	s.Model.Batches++
	for _, x := range []struct {
		what   string
		values []float32
	}{{"weight", s.Model.Params}, {"running statistic", s.Model.Buffers}} {
		if k := nonFinite(x.values); k >= 0 {
			return 0, fmt.Errorf("%w: %s %d after the update; lower optimizer.learning_rate, or look at the images",
				errNonFinite, x.what, k)
		}
	}
	if result.Prior != nil {
		s.Prior = result.Prior
	}
	if err := s.Scaler.Update(t.largest, t.saturated); err != nil {
		return 0, err
	}
	s.Step++
	for _, n := range t.saturated {
		saturated += n
	}
	return saturated, nil
}

// watchCollapse counts the steps in a row in which the student used too few classes.
func (t *Trainer) watchCollapse(h loss.Health) error {
	c := t.config.Collapse
	if c.UsedClasses <= 0 || t.config.Teacher == nil || c.Patience < 1 {
		return nil
	}
	need := int(math.Ceil(c.UsedClasses * float64(h.TeacherUsedClasses)))
	if h.UsedClasses >= need {
		t.state.Collapsed = 0
		return nil
	}
	t.state.Collapsed++
	if t.state.Collapsed < c.Patience {
		return nil
	}
	return fmt.Errorf("%w: it used %d classes, fewer than %d, in each of the last %d steps (step %d); "+
		"try a warmer start (loss.start.kl), or lower collapse.used_classes", ErrCollapsed, h.UsedClasses, need, c.Patience, t.state.Step)
}

// votes are what all workers must agree on after a step.
type votes struct {
	stop    bool
	skipped int
}

func (v *votes) exchange(ctx context.Context, c Config, step int) error {
	sums := []int64{0, int64(v.skipped)}
	if c.Control.StopRequested() {
		sums[0] = 1
	}
	if err := c.Reducer.ReduceInt64(ctx, uint64(step), bucketControl, sums); err != nil {
		return fmt.Errorf("all-reduce of the stop votes: %w", err)
	}
	v.stop, v.skipped = sums[0] > 0, int(sums[1])
	return nil
}
