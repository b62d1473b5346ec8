package train

import (
	"context"
	"fmt"
	"time"

	"pupil/loss"
	"pupil/worker/feed"
	"pupil/worker/nn"
)

// lane computes one lane's part of a step: its own graph and buffers over the weights that all lanes share.
type lane struct {
	trainer  *Trainer
	number   int // of the job's lanes
	training *nn.Training
	teacher  *nn.Inference // nil: supervised
	loss     *loss.Lane

	gradients, statistics []float32
	teacherFeatures       []float64
	studentFeatures       []float64
	scratch               []int32
	missing               []int // by bucket: tensors that are not complete yet

	// of the step
	ctx       context.Context // of the call that is running; the graph's callbacks have no parameter for it
	batch     *feed.Batch
	result    *loss.Result
	err       error // of a callback that cannot return one
	clock     stopwatch
	waiting   time.Duration
	computing bool // the lane has one of the places
	skipped   int
}

// stopwatch measures the time that a lane computes: it stands still while the lane waits.
type stopwatch struct {
	total time.Duration
	since time.Time
}

func (s *stopwatch) start() { s.since = time.Now() }
func (s *stopwatch) stop()  { s.total += time.Since(s.since) }

func newLane(t *Trainer, number, size int) (*lane, error) {
	c := t.config
	l := &lane{
		trainer: t, number: number,
		loss:            t.loss.Lane(size),
		gradients:       make([]float32, t.layout.sizes[0]),
		statistics:      make([]float32, t.layout.sizes[1]),
		studentFeatures: make([]float64, size*c.Classes),
		missing:         make([]int, len(t.layout.buckets)),
	}
	longest := 0
	for _, b := range t.layout.buckets {
		longest = max(longest, b.length())
	}
	l.scratch = make([]int32, longest)
	var err error
	if c.Teacher != nil {
		l.teacherFeatures = make([]float64, size*c.Classes)
		if l.teacher, err = c.Teacher.NewInference(c.TeacherState, size); err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
	}
	l.training, err = c.Student.NewTraining(t.state.Model, nn.TrainingConfig{
		Batch: size, Output: c.StudentOutput, Loss: l.criterion,
		Gradients: l.gradients, Statistics: l.statistics, OnGradient: l.onGradient,
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("student: %w", err)
	}
	return l, nil
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
	l.ctx, l.err, l.result, l.skipped = ctx, nil, nil, 0
	start := time.Now()
	if l.batch, err = t.config.Source.Next(ctx, l.number); err != nil {
		return err
	}
	defer l.batch.Release()
	l.skipped = l.batch.Skipped
	l.waiting, l.clock.total = time.Since(start), 0
	for i, b := range t.layout.buckets {
		l.missing[i] = b.last - b.first
		if b.statistics {
			l.missing[i] = 1 // complete as a whole when the forward pass is
		}
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	if l.teacher != nil {
		pooled, logits, err := l.teacher.Run(l.batch.Teacher)
		if err != nil {
			return fmt.Errorf("lane %d: teacher: %w", l.number, err)
		}
		widen(l.teacherFeatures, pick(t.config.TeacherOutput, pooled, logits))
	}
	if err := l.training.Run(l.batch.Student); err != nil {
		return fmt.Errorf("lane %d: %w", l.number, err)
	}
	if l.err != nil {
		return fmt.Errorf("lane %d: %w", l.number, l.err)
	}
	return nil
}

// criterion is called by the graph between forward and backward.
func (l *lane) criterion(features, gradient []float32) (float64, error) {
	t := l.trainer
	widen(l.studentFeatures, features)
	b := loss.Batch{Student: l.studentFeatures, Labels: l.batch.Labels}
	if l.teacher != nil {
		b.Teacher = l.teacherFeatures
	}
	result, err := l.loss.Evaluate(b, t.state.Prior, t.progress(), l.reduce)
	if err != nil {
		return 0, err
	}
	for i, g := range result.Gradient {
		gradient[i] = float32(g)
	}
	l.result = result
	return result.Loss, nil
}

// reduce lets another lane compute while this one waits for the sum.
func (l *lane) reduce(sums []int64) error {
	l.release()
	err := l.trainer.gather.sum(l.ctx, sums)
	if again := l.acquire(); err == nil {
		err = again
	}
	return err
}

// onGradient is called by the graph when a parameter's gradient is complete.
func (l *lane) onGradient(param int) {
	if l.err != nil {
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
		l.err = l.trainer.exchange.give(b, l.gradients, l.statistics, l.scratch)
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
