package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"pupil/allreduce"
	"pupil/loss"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/optim"
	"pupil/worker/train"
)

// adamw is the optimiser of both sides.
var adamw = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}

// rate is its learning rate: so small that the first update changes the loss as its gradient says.
const rate = 2e-5

// manySteps is the length of the job that the measured steps belong to. Nothing depends on it.
const manySteps = 1 << 30

// work is what one side repeats.
type work interface {
	run(ctx context.Context, times int) error
	// check computes figures that must be those of the other side.
	check(ctx context.Context) ([]float64, error)
	close()
}

// ourStep is the step loop of a worker that is alone: lanes' graphs, the exact loss, gradients as fixed-point numbers
// through a ring of one, the update. Only images are not read and decoded.
type ourStep struct {
	trainer  *train.Trainer
	part     train.Part
	control  *control
	source   *source
	decoding *decoding // nil: images are not decoded
}

// newOurStep cuts the batch into as many lanes as there are threads.
func newOurStep(m *models, threads int) (*ourStep, error) {
	if m.pair.batch%threads != 0 {
		return nil, fmt.Errorf("a batch of %d images cannot be cut into %d lanes", m.pair.batch, threads)
	}
	s, err := firstState(m, threads)
	if err != nil {
		return nil, err
	}
	ring, err := allreduce.New(nil, allreduce.Config{Job: "bench", Generation: 1, Size: 1})
	if err != nil {
		return nil, err
	}
	teacher, err := m.teacher.Freeze(m.teacherState, nn.FreezeConfig{})
	if err != nil {
		return nil, err
	}
	c := &control{}
	o := &ourStep{control: c, source: newSource(m, threads), part: train.Part{Size: 1, Reducer: ring, Saved: -1}}
	for i := range threads {
		o.part.Carried = append(o.part.Carried, i)
	}
	o.trainer, err = train.New(train.Config{
		Batch: m.pair.batch, Lanes: threads, Threads: threads, Steps: manySteps,
		Epoch: func(int) int { return 0 }, Student: m.student, Teacher: teacher,
		Loss: m.loss, Heads: []train.Head{{Teacher: nn.Logits, Student: nn.Logits}},
		Schedule: optim.Schedule{Name: "constant", Peak: rate, Steps: manySteps},
		Source:   o.source, Control: c,
	}, s)
	return o, err
}

// firstState is the state before the first step.
func firstState(m *models, lanes int) (*train.State, error) {
	model := &nn.State{
		Params:  append([]float32(nil), m.studentState.Params...),
		Buffers: append([]float32(nil), m.studentState.Buffers...),
	}
	s := &train.State{Network: m.student, Model: model}
	var groups []optim.Group
	for _, p := range m.student.Params() {
		groups = append(groups, optim.Group{Offset: p.Offset, Len: p.Len, Decay: p.Kind == nn.Weight})
	}
	var err error
	if s.Optimizer, err = optim.New(adamw, len(model.Params), groups); err != nil {
		return nil, err
	}
	if s.Loss, err = m.loss.NewState(); err != nil {
		return nil, err
	}
	if err := s.SetWire(allreduce.Fixed32, lanes); err != nil {
		return nil, err
	}
	return s, nil
}

func (o *ourStep) run(ctx context.Context, times int) (err error) {
	o.control.begin(times)
	if o.decoding != nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // after an error
		end, err := o.decoding.begin(ctx, times)
		if err != nil {
			return err
		}
		o.source.feed = o.decoding.feed
		if err = o.train(ctx); err != nil {
			cancel()
		}
		return errors.Join(err, end())
	}
	return o.train(ctx)
}

func (o *ourStep) train(ctx context.Context) error {
	outcome, err := o.trainer.Run(ctx, o.part)
	if err == nil && outcome != train.Stopped {
		err = errors.New("the job has come to its end")
	}
	return err
}

// check makes two steps and returns the first one's loss, which depends on both forward passes, and by how much the
// second one's is lower, which depends on gradients and update too.
func (o *ourStep) check(ctx context.Context) ([]float64, error) {
	if err := o.run(ctx, 2); err != nil {
		return nil, err
	}
	losses := o.control.losses
	return []float64{losses[0], losses[0] - losses[1]}, nil
}

func (o *ourStep) close() { _ = o.trainer.Close() } // it saves nothing

// source gives each lane the same images in every step, or those of a feed.
type source struct {
	batches []*feed.Batch
	feed    *feed.Feed
}

func newSource(m *models, lanes int) *source {
	s := &source{}
	n := len(m.teacherImages) / lanes
	for i := range lanes {
		b := &feed.Batch{Lane: i, Labels: make([]int, m.pair.batch/lanes)}
		b.Teacher, b.Student = m.teacherImages[i*n:][:n], m.studentInput[i*n:][:n]
		s.batches = append(s.batches, b)
	}
	return s
}

func (s *source) Carry([]int) error { return nil }

func (s *source) Next(ctx context.Context, lane, _ int) (*feed.Batch, error) {
	if s.feed != nil {
		return s.feed.Next(ctx, lane)
	}
	return s.batches[lane], nil
}

// control ends the loop after a number of steps, and keeps their losses.
type control struct {
	stopAfter int
	losses    []float64
}

func (c *control) begin(steps int) { c.stopAfter, c.losses = steps, nil }

// Requested is asked in the step whose loss is not there yet.
func (c *control) Requested() train.Request {
	if len(c.losses)+1 >= c.stopAfter {
		return train.Stop
	}
	return train.GoOn
}

func (c *control) Began(int, train.Origin) {}

func (c *control) Committed(p train.Progress) { c.losses = append(c.losses, p.Loss) }

// ourInference is a network in evaluation mode.
type ourInference struct {
	inference *nn.Inference
	images    []float32
}

func newOurInference(m *models, name string) (*ourInference, error) {
	n, s, images := m.network(name)
	i, err := n.NewInference(s, m.pair.batch)
	return &ourInference{i, images}, err
}

func (o *ourInference) run(ctx context.Context, times int) error {
	for range times {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, _, err := o.inference.Run(o.images); err != nil {
			return err
		}
	}
	return nil
}

// check returns the root mean square of the logits, of two runs.
func (o *ourInference) check(ctx context.Context) ([]float64, error) {
	var values []float64
	for range 2 {
		if err := o.run(ctx, 1); err != nil {
			return nil, err
		}
		logits, sum := o.inference.Output(nn.Logits), 0.0
		for _, v := range logits {
			sum += float64(v) * float64(v)
		}
		values = append(values, math.Sqrt(sum/float64(len(logits))))
	}
	return values, nil
}

func (o *ourInference) close() { o.inference.Close() }

// priorOf is the prior of the first step.
func priorOf(m *models) (*loss.Prior, error) {
	s, err := m.loss.NewState()
	if err != nil {
		return nil, err
	}
	return s.Priors[0], nil
}
