package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pupil/loss"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

var errNonFinite = errors.New("a value is not finite")

// Trainer carries a worker's lanes through a job's steps.
type Trainer struct {
	config   Config
	state    *State
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
	t := &Trainer{
		config: c, state: state, layout: newLayout(c.Student),
		places: make(chan struct{}, c.Threads), saver: newSaver(c.Saver),
	}
	t.gradients = make([]float32, t.layout.sizes[0])
	t.statistics = make([]float32, t.layout.sizes[1])
	t.largest = make([]float64, len(t.layout.tensors))
	t.saturated = make([]int, len(t.layout.tensors))
	if missing := state.Feedback.Missing(c.Carried); len(missing) > 0 {
		return nil, fmt.Errorf("train: the error feedback of lanes %v as of step %d is not here; restore a checkpoint, or get "+
			"it from the workers that have it", missing, state.Step)
	}
	t.exchange = newExchange(t.layout, state.Scales, len(c.Carried), c.Reducer)
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
		t.idle = c.Loss.Lane(0, 0)
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
		if t.saves(done, stop) {
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

// saves says whether all workers agree to save a checkpoint after a step.
func (t *Trainer) saves(done int, stop bool) bool {
	every := t.config.CheckpointStep
	return stop || done == t.config.Steps || every > 0 && done%every == 0
}

// progress is the share of the job's steps that are done.
func (t *Trainer) progress() float64 { return float64(t.state.Step) / float64(t.config.Steps) }

// step makes one step and says whether some worker was asked to stop.
func (t *Trainer) step(ctx context.Context) (stop bool, err error) {
	begin := time.Now()
	step := t.state.Step
	group := newTaskGroup(ctx)
	t.gather.reset()
	t.exchange.begin(step, t.state.Scales.exponents(), group)

	lanes := newTaskGroup(group.ctx)
	var result evaluated
	for _, l := range t.lanes {
		lanes.run(l.step)
	}
	if t.idle != nil {
		lanes.run(func(ctx context.Context) (err error) {
			result, err = t.evaluate(t.idle, t.emptyBatch(), func(sums []int64) error { return t.gather.sum(ctx, sums) })
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
	if t.saves(step+1, agreed.stop) {
		if err := t.state.Feedback.gatherNext(ctx, t.config.Reducer, uint64(step)); err != nil {
			return false, fmt.Errorf("step %d: %w", step+1, err)
		}
	}
	if err := t.config.Reducer.Commit(ctx, uint64(step)); err != nil {
		return false, fmt.Errorf("step %d: commit: %w", step+1, err)
	}
	reduced := time.Now()
	rate := t.config.Schedule.Rate(step)
	norm, saturated, err := t.update(result.Result, rate)
	if err != nil {
		return false, fmt.Errorf("step %d: %w", step+1, err)
	}
	p := Progress{
		Step: t.state.Step, Total: t.config.Steps, Epoch: t.config.Epoch(step), LearningRate: rate,
		Loss: result.Loss, Terms: result.Terms, Health: result.Health, Rank: result.rank, RankMeasured: t.measuresRank(step),
		Images: t.config.Batch, Skipped: agreed.skipped, GradientNorm: norm, Saturated: saturated,
		Times: Times{
			Step: time.Since(begin).Seconds(), Reduce: reduced.Sub(computed).Seconds(), Update: time.Since(reduced).Seconds(),
		},
	}
	for _, l := range t.lanes {
		p.Times.Compute += l.clock.total.Seconds()
		p.Times.Input = max(p.Times.Input, l.waiting.Seconds())
	}
	t.config.Control.Committed(p)
	return agreed.stop, t.config.Collapse.watch(&t.state.Collapsing, t.state.Step, result.Health, result.rank,
		t.measuresRank(step), t.config.RankEvery)
}

// evaluated is what a step's loss says.
type evaluated struct {
	*loss.Result
	rank float64 // if it is measured in this step
}

// evaluate is a lane's part of the step's loss.
func (t *Trainer) evaluate(l *loss.Lane, b loss.Batch, reduce loss.Reduce) (e evaluated, err error) {
	if e.Result, err = l.Evaluate(b, t.state.Loss, t.progress(), reduce); err != nil {
		return evaluated{}, err
	}
	if t.measuresRank(t.state.Step) {
		e.rank, err = l.EffectiveRank(b, reduce)
	}
	return e, err
}

// measuresRank says whether the effective rank is measured in a step.
func (t *Trainer) measuresRank(step int) bool {
	return t.config.RankEvery > 0 && step%t.config.RankEvery == 0
}

func (t *Trainer) emptyBatch() loss.Batch {
	return loss.Batch{Heads: make([]loss.Pair, len(t.config.Heads)), Labels: []int{}}
}

// skipped is the number of broken images that this worker's lanes replaced in the step.
func (t *Trainer) skipped() (n int) {
	for _, l := range t.lanes {
		n += l.skipped
	}
	return n
}

// update applies the sums of the step to the state. It returns the gradient's norm and the number of saturated values.
func (t *Trainer) update(result *loss.Result, rate float64) (norm float64, saturated int, err error) {
	s := t.state
	t.exchange.result(t.gradients, t.statistics, t.largest, t.saturated)
	for i := range t.statistics { // the mean over lanes
		t.statistics[i] = float32(float64(t.statistics[i]) / float64(t.config.Lanes))
	}
	norm = optim.ClipNorm(t.gradients, t.config.ClipNorm)
	s.Optimizer.Step(s.Model.Params, t.gradients, s.Step, rate)
	t.config.Student.UpdateRunning(s.Model.Buffers, t.statistics)
	s.Model.Batches++
	if err := t.checkUpdated(); err != nil {
		return 0, 0, err
	}
	s.Average.Update(s.Model.Params, s.Model.Buffers, s.Step)
	s.Loss = result.State
	if err := s.Scales.update(t.largest, t.saturated, t.layout.params); err != nil {
		return 0, 0, err
	}
	s.Feedback.commit()
	s.Step++
	for _, n := range t.saturated {
		saturated += n
	}
	return norm, saturated, nil
}

// checkUpdated looks for the first value of the state that is not finite after an update.
func (t *Trainer) checkUpdated() error {
	m := t.state.Model
	for _, x := range []struct {
		what    string
		values  []float32
		tensors []nn.Tensor
	}{{"weight", m.Params, t.config.Student.Params()}, {"running statistic", m.Buffers, t.config.Student.Buffers()}} {
		k := nonFinite(x.values)
		if k < 0 {
			continue
		}
		for _, tensor := range x.tensors {
			if k < tensor.Offset+tensor.Len {
				return fmt.Errorf("%w: %s %s, element %d, after the update; lower optimizer.learning_rate, or look at the images",
					errNonFinite, x.what, tensor.Name, k-tensor.Offset)
			}
		}
	}
	return nil
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
