package train

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pupil/loss"
	"pupil/worker/feed"
	"pupil/worker/nn"
)

// lane computes one lane's part of a step: its own graph and buffers over the weights that all lanes share. It may be
// another lane of the job in another generation.
type lane struct {
	trainer  *Trainer
	number   int // of the job's lanes
	size     int // images
	warming  bool
	training *nn.Training
	teacher  *nn.Inference // nil: supervised
	loss     *loss.Lane

	gradients, statistics []float32
	pairs                 []loss.Pair // by head
	before, after         []float32   // error feedback of the gradients; nil: sums of 32 bits
	scratch               scratch
	missing               []int // by bucket: tensors that are not complete yet

	// of the step
	ctx       context.Context // of the call that is running; the graph's callbacks have no parameter for it
	batch     *feed.Batch
	result    evaluated
	err       error // of a callback that cannot return one
	clock     stopwatch
	phases    phases
	marked    time.Time // of the trace
	waiting   time.Duration
	computing bool // the lane has one of the places
	skipped   int
	calls     int // of the loss's sums, so far
}

// newLane makes a graph that has to become a lane; its teacher has so many threads.
func newLane(t *Trainer, threads int) (*lane, error) {
	c := t.config
	size := c.Batch / c.Lanes
	l := &lane{
		trainer: t, size: size,
		gradients:  make([]float32, t.layout.sizes[0]),
		statistics: make([]float32, t.layout.sizes[1]),
		missing:    make([]int, len(t.layout.buckets)),
	}
	outputs := make([]nn.Output, len(c.Heads))
	for i, h := range c.Heads {
		outputs[i] = h.Student
		p := loss.Pair{Student: make([]float64, size*c.Student.Width(h.Student))}
		if c.Teacher != nil {
			p.Teacher = make([]float64, size*c.Teacher.Network().Width(h.Teacher))
		}
		l.pairs = append(l.pairs, p)
	}
	l.scratch = t.exchange.newScratch()
	var err error
	if c.Teacher != nil {
		inference := nn.InferenceConfig{Batch: size, Threads: threads}
		if l.teacher, err = c.Teacher.NewInference(inference); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
	}
	l.training, err = c.Student.NewTraining(t.state.Model, nn.TrainingConfig{
		Batch: size, Outputs: outputs, Loss: l.criterion,
		Gradients: l.gradients, Statistics: l.statistics, OnGradient: l.onGradient,
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("student: %w", err)
	}
	return l, nil
}

// become makes it a lane of the job.
func (l *lane) become(number int) {
	if l.loss == nil || l.number != number {
		l.number, l.loss = number, l.trainer.config.Loss.Lane(number*l.size, l.size)
	}
}

// warm computes once with black images and gradients of zero, so that code and memory are there when they are needed.
func (l *lane) warm() error {
	l.warming = true
	defer func() { l.warming = false }()
	black := func(c nn.Config) []float32 { return make([]float32, l.size*c.Size*c.Size*c.Channels) }
	if l.teacher != nil {
		if _, _, err := l.teacher.Run(black(l.trainer.config.Teacher.Network().Config())); err != nil {
			return fmt.Errorf("teacher: %w", err)
		}
	}
	return l.training.Run(black(l.trainer.config.Student.Config()))
}

// close releases the lane's graphs.
func (l *lane) close() {
	if l.training != nil {
		l.training.Close()
	}
	if l.teacher != nil {
		l.teacher.Close()
	}
}

// step computes one batch and gives its gradients to the exchange.
func (l *lane) step(ctx context.Context) (err error) {
	t := l.trainer
	l.ctx, l.err, l.result, l.skipped, l.calls = ctx, nil, evaluated{}, 0, 0
	start := time.Now()
	l.mark()
	if l.batch, err = t.config.Source.Next(ctx, l.number, t.state.Step); err != nil {
		return err
	}
	defer l.batch.Release()
	l.span(spanInput)
	l.skipped = l.batch.Skipped
	l.waiting, l.phases = time.Since(start), phases{}
	l.clock.reset()
	for i, b := range t.layout.buckets {
		l.missing[i] = b.last - b.first
		if b.statistics {
			l.missing[i] = 1 // complete as a whole when the forward pass is
		}
	}
	if f := t.state.Feedback; f != nil {
		l.before, l.after = f.take(l.number)
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	l.mark()
	if l.teacher != nil {
		if err := l.teach(); err != nil {
			return fmt.Errorf("lane %d: teacher: %w", l.number, err)
		}
		l.span(spanTeacher)
	}
	l.phases.teacher = l.clock.lap()
	if err := l.training.Run(l.batch.Student); err != nil {
		return fmt.Errorf("lane %d: %w", l.number, err)
	}
	l.phases.backward = l.clock.lap()
	l.span(spanBackward)
	if l.err != nil {
		return fmt.Errorf("lane %d: %w", l.number, l.err)
	}
	if f := t.state.Feedback; f != nil {
		f.give(l.number)
	}
	return nil
}

// teach takes the teacher's outputs for the batch, which are computed unless they are known.
func (l *lane) teach() error {
	var o feed.Outputs
	if known := l.batch.Known; known != nil {
		o = *known
	} else {
		var err error
		if o.Pooled, o.Logits, err = l.teacher.Run(l.batch.Teacher); err != nil {
			return err
		}
		l.batch.Keep(l.ctx, o)
	}
	for i, h := range l.trainer.config.Heads {
		widen(l.pairs[i].Teacher, pick(h.Teacher, o.Pooled, o.Logits))
	}
	return nil
}

// criterion is called by the graph between forward and backward, with the heads' features.
func (l *lane) criterion(features, gradients [][]float32) (float64, error) {
	if l.warming {
		for _, g := range gradients {
			clear(g)
		}
		return 0, nil
	}
	l.phases.forward = l.clock.lap()
	l.span(spanForward)
	for i, p := range l.pairs {
		widen(p.Student, features[i])
	}
	result, err := l.trainer.evaluate(l.loss, loss.Batch{Heads: l.pairs, Labels: l.batch.Labels}, l.reduce)
	if err != nil {
		return 0, l.named(err)
	}
	for i, g := range result.Gradients {
		for k, v := range g {
			gradients[i][k] = float32(v)
		}
	}
	l.result, l.phases.joint = result, l.clock.lap()
	l.span(spanLoss)
	return result.Loss, nil
}

// named adds to an error of the loss the name of the sample that it is about.
func (l *lane) named(err error) error {
	var s *loss.SampleError
	if errors.As(err, &s) && s.Sample < len(l.batch.Samples) {
		return fmt.Errorf("image %s: %w", l.batch.Samples[s.Sample].Name, err)
	}
	return err
}

// images names the batch's first images, for an error that any of them may have caused.
func (l *lane) images() string {
	const most = 4
	var names []string
	for _, s := range l.batch.Samples[:min(most, len(l.batch.Samples))] {
		names = append(names, s.Name)
	}
	if more := len(l.batch.Samples) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// reduce lets another lane compute while this one waits for the sum.
func (l *lane) reduce(sums []int64) error {
	l.release()
	err := l.trainer.exchange.sum(l.ctx, l.calls, sums)
	l.calls++
	if again := l.acquire(); err == nil {
		err = again
	}
	return err
}

// onGradient is called by the graph when a parameter's gradient is complete.
func (l *lane) onGradient(param int) {
	if l.err != nil || l.warming {
		return
	}
	layout := l.trainer.layout
	if layout.buckets[0].statistics && l.missing[0] > 0 {
		l.complete(0)
	}
	l.complete(layout.bucketOf[param])
}

func (l *lane) complete(b int) {
	l.missing[b]--
	if l.missing[b] == 0 && l.err == nil {
		if l.err = l.trainer.exchange.give(b, l); errors.Is(l.err, errNonFinite) {
			l.err = fmt.Errorf("images %s: %w", l.images(), l.err)
		}
	}
}

// acquire takes one of the worker's places to compute.
func (l *lane) acquire() error {
	select {
	case l.trainer.places <- struct{}{}:
		l.computing = true
		l.clock.start()
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// release gives the place back, if the lane has one.
func (l *lane) release() {
	if l.computing {
		l.computing = false
		l.clock.stop()
		<-l.trainer.places
	}
}

func widen(dst []float64, src []float32) {
	for i, x := range src {
		dst[i] = float64(x)
	}
}

func pick(o nn.Output, pooled, logits []float32) []float32 {
	if o == nn.Pooled {
		return pooled
	}
	return logits
}
