package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pupil/loss"
)

var errNonFinite = errors.New("a value is not finite")

// Trainer carries a worker's lanes through a job's steps, from generation to generation.
type Trainer struct {
	config   Config
	state    *State
	layout   *layout
	exchange *exchange
	lanes    map[int]*lane // those carried
	spare    []*lane       // graphs that no lane has now
	idle     *loss.Lane    // takes part in the loss's sums for a worker without lanes
	idled    evaluated     // its result
	places   chan struct{}
	saver    *saver
	pending  *pending // nil between two steps
	trace    Trace    // of the step; nil: none

	living context.Context // of the lanes' goroutines
	end    context.CancelFunc

	gradients, statistics []float32 // sums over all lanes
	largest               []float64 // by tensor, of the step's sums
	saturated             []int     // by tensor
}

// New prepares a worker for a job. state is changed by Run.
func New(c Config, state *State) (*Trainer, error) {
	if c.Threads < 1 {
		return nil, fmt.Errorf("train: threads is %d; it must be at least 1", c.Threads)
	}
	t := &Trainer{
		config: c, state: state, layout: newLayout(c.Student, c.BucketBytes), lanes: map[int]*lane{},
		places: make(chan struct{}, c.Threads), saver: &saver{},
	}
	t.living, t.end = context.WithCancel(context.Background())
	t.gradients = make([]float32, t.layout.sizes[0])
	t.statistics = make([]float32, t.layout.sizes[1])
	t.largest = make([]float64, len(t.layout.tensors))
	t.saturated = make([]int, len(t.layout.tensors))
	t.exchange = newExchange(t.layout, state.Scales)
	return t, nil
}

// Close waits for a checkpoint that is being written, ends what a step under way still computes, and releases the lanes'
// graphs. The error is that of the checkpoint.
func (t *Trainer) Close() error {
	err := t.saver.wait(t.state.Step)
	t.drop()
	t.end()
	for _, l := range t.lanes {
		l.close()
	}
	for _, l := range t.spare {
		l.close()
	}
	clear(t.lanes)
	t.spare = nil
	return err
}

// drop gives up a step that is under way.
func (t *Trainer) drop() {
	if t.pending != nil {
		t.pending.discard()
		t.pending = nil
	}
}

// Run carries a part until the job is done, a stop or the generation's end is asked for, or an error ends it. After an
// error of the reducer, or the end of ctx, Run can be called again with the part of another generation. After other
// errors the state must not be used: it lies in the middle of an update, or the job itself is at fault.
func (t *Trainer) Run(ctx context.Context, part Part) (Outcome, error) {
	from, err := t.meet(ctx, part)
	if err != nil {
		return 0, err
	}
	if err := t.carry(part.Carried); err != nil {
		return 0, err
	}
	t.saver.begin(part.Saver, part.Saved)
	t.config.Control.Began(t.state.Step, from)
	for t.state.Step < t.config.Steps {
		agreed, err := t.step(ctx, part)
		if err != nil {
			return 0, err
		}
		done := t.state.Step
		stop := agreed.stop && done < t.config.Steps
		if t.saves(done, agreed) {
			begun := time.Now()
			if err := t.saver.save(t.living, t.state); err != nil {
				return 0, err
			}
			if t.saver.to != nil {
				t.span(spanCopy, 0, begun)
			}
		}
		t.traced()
		switch {
		case stop:
			return Stopped, t.saver.finish(ctx, t.living, t.state)
		case agreed.yield && done < t.config.Steps:
			return Yielded, nil
		}
	}
	if t.saver.saved < t.state.Step { // the worker that should have saved the last step has gone
		if err := t.saver.save(t.living, t.state); err != nil {
			return 0, err
		}
	}
	return Finished, t.saver.finish(ctx, t.living, t.state)
}

// saves says whether all workers agree to save a checkpoint after a step.
func (t *Trainer) saves(done int, agreed votes) bool {
	return agreed.stop || agreed.save || done == t.config.Steps || t.saver.due(done, t.config.CheckpointStep)
}

// Prepare builds the graphs of some lanes, and computes once with each, so that the first part that carries so many begins
// without delay. Nothing of the state is changed. It ends early, between two lanes, when ctx does.
func (t *Trainer) Prepare(ctx context.Context, lanes int) error {
	for range lanes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		l, err := newLane(t, t.config.Threads/lanes)
		if err != nil {
			return err
		}
		t.spare = append(t.spare, l)
		if err := l.warm(); err != nil {
			return err
		}
	}
	return nil
}

// carry gives each lane that is new to this worker a graph. Those of lanes that others carry now are kept for lanes to come.
func (t *Trainer) carry(lanes []int) error {
	if err := t.config.Source.Carry(lanes); err != nil {
		return err
	}
	if missing := t.state.Feedback.Missing(lanes); len(missing) > 0 {
		return fmt.Errorf("the error feedback of lanes %v as of step %d is not here", missing, t.state.Step)
	}
	if p := t.pending; p != nil && !p.continues(lanes) {
		t.drop()
	}
	for n, l := range t.lanes {
		if !slices.Contains(lanes, n) {
			t.spare = append(t.spare, l)
			delete(t.lanes, n)
		}
	}
	for _, n := range lanes {
		if t.lanes[n] != nil {
			continue
		}
		if len(t.spare) == 0 {
			l, err := newLane(t, t.config.Threads/len(lanes))
			if err != nil {
				return fmt.Errorf("lane %d: %w", n, err)
			}
			t.spare = append(t.spare, l)
		}
		last := len(t.spare) - 1
		t.lanes[n], t.spare = t.spare[last], t.spare[:last]
		t.lanes[n].become(n)
	}
	if len(lanes) == 0 && t.idle == nil {
		t.idle = t.config.Loss.Lane(0, 0)
	}
	return nil
}

// progress is the share of the job's steps that are done.
func (t *Trainer) progress() float64 { return float64(t.state.Step) / float64(t.config.Steps) }

// begin lets the lanes that this worker carries compute their part of the next step, unless they do already. What they give
// is summed as soon as the step enters a generation.
func (t *Trainer) begin(carried []int) *pending {
	if t.pending == nil {
		t.pending = newPending(t.living, t.state.Step)
		t.exchange.begin(t.state.Scales.exponents())
		t.tracing(t.state.Step)
	}
	for _, n := range carried {
		t.pending.start(n, t.lanes[n].step)
	}
	if len(carried) == 0 {
		t.pending.start(idleLane, t.takePart)
	}
	return t.pending
}

// step makes one step, or ends the one that an earlier generation has begun, and says what the workers ask for.
func (t *Trainer) step(ctx context.Context, part Part) (agreed votes, err error) {
	step := t.state.Step
	ring := ringFirst + uint64(step)
	group := newTaskGroup(ctx)
	p := t.begin(part.Carried)
	t.exchange.enter(&attempt{reducer: part.Reducer, step: ring, lanes: max(1, len(part.Carried)), group: group})
	if err := p.wait(group.ctx); err != nil { // some lanes may still compute
		group.cancel(err)
		_ = t.exchange.leave() // err again
		return agreed, fmt.Errorf("step %d: %w", step+1, err)
	}
	p.computed = time.Now()
	agreed.skipped = t.skipped()
	group.run(func(ctx context.Context) error { return t.vote(ctx, &agreed, part, ring) })
	if err := t.exchange.leave(); err != nil {
		return agreed, fmt.Errorf("step %d: %w", step+1, err)
	}
	if err := t.compare(agreed.digests, part.Rank); err != nil {
		return agreed, fmt.Errorf("step %d: %w", step+1, err)
	}
	p.complete, p.skipped = true, agreed.skipped
	if t.saves(step+1, agreed) {
		if err := t.state.Feedback.gatherNext(ctx, part.Reducer, ring); err != nil {
			return agreed, fmt.Errorf("step %d: %w", step+1, err)
		}
	}
	begun := time.Now()
	if err := part.Reducer.Commit(ctx, ring); err != nil {
		return agreed, fmt.Errorf("step %d: commit: %w", step+1, err)
	}
	t.span(spanCommit, 0, begun)
	return agreed, t.finish()
}

// takePart is the step of a worker without lanes: nothing is added to the sums.
func (t *Trainer) takePart(ctx context.Context) (err error) {
	t.exchange.giveNothing()
	call := 0
	t.idled, err = t.evaluate(t.idle, t.emptyBatch(), func(sums []int64) error {
		call++
		return t.exchange.sum(ctx, call-1, sums)
	})
	return err
}

// finish applies the sums of the step, which all workers have, and tells of it.
func (t *Trainer) finish() error {
	p, reduced := t.pending, time.Now()
	t.pending = nil
	p.cancel(nil) // its lanes have ended; the contexts of steps must not pile up on that of the trainer
	step := t.state.Step
	result := t.idled
	if n := p.started[0]; n != idleLane {
		result = t.lanes[n].result
	}
	rate := t.config.Schedule.Rate(step)
	norm, saturated, err := t.update(result.Result, rate)
	if err != nil {
		return fmt.Errorf("step %d: %w", step+1, err)
	}
	t.span(spanUpdate, 0, reduced)
	progress := Progress{
		Step: t.state.Step, Total: t.config.Steps, Epoch: t.config.Epoch(step), LearningRate: rate,
		Loss: result.Loss, Terms: result.Terms, Health: result.Health, Joints: result.Joints, Priors: t.state.Loss.Priors, Rank: result.rank, RankMeasured: t.measuresRank(step),
		Images: t.config.Batch, Skipped: p.skipped, Unsaved: t.saver.total, GradientNorm: norm, Saturated: saturated,
		Times: Times{
			Step: time.Since(p.begun).Seconds(), Reduce: reduced.Sub(p.computed).Seconds(), Update: time.Since(reduced).Seconds(),
		},
	}
	under, exposed := t.exchange.overlap.take(p.computed)
	progress.Times.Exchange, progress.Times.Exposed = under.Seconds(), exposed.Seconds()
	for _, l := range t.lanes {
		l.phases.add(&progress.Times)
		progress.Times.Compute += l.clock.total.Seconds()
		progress.Times.Input = max(progress.Times.Input, l.waiting.Seconds())
	}
	t.config.Control.Committed(progress)
	return t.config.Collapse.watch(&t.state.Collapsing, t.state.Step, result.Health, result.rank,
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
