package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pupil/allreduce"
	"pupil/coordinator/wire"
	"pupil/loss"
)

// part is a plan's part that this worker carries. It is a Session.
type part struct {
	agent     *agent
	plan      wire.Plan
	ctx       context.Context // of the training
	cancel    context.CancelCauseFunc
	requested atomic.Int32 // a Request

	over    context.Context // ends when the coordinator, or the session, has ended the part
	endOver context.CancelFunc

	ring      *allreduce.Ring
	closeRing func()
	notices   sync.WaitGroup // of checkpoints and beginnings
}

var _ Session = (*part)(nil)

func newPart(ctx context.Context, a *agent, m wire.Plan) *part {
	p := &part{agent: a, plan: m, closeRing: func() {}}
	p.over, p.endOver = context.WithCancel(ctx)
	p.ctx, p.cancel = context.WithCancelCause(p.over)
	return p
}

// abandon ends the part because the coordinator says so.
func (p *part) abandon(reason string) {
	p.cancel(fmt.Errorf("the coordinator ended generation %d: %s", p.plan.Generation, reason)) // the first cause counts
	p.endOver()
}

// carry opens the ring and lets the trainer work. The ring stays open until close. ok says that there is an end to
// tell of: not when the coordinator, or the process, has ended the part.
func (p *part) carry(t Trainer) (end wire.Ended, ok bool) {
	end = wire.Ended{Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation}
	out, err := p.train(t)
	if err == nil {
		p.awaitNotices()
		switch out.Kind {
		case wire.Finished, wire.Stopped, wire.Yielded:
			end.Outcome, end.Step, end.WeightsSHA256 = out.Kind, out.Step, out.WeightsSHA256
			return end, true
		}
		err = fmt.Errorf("the trainer ended with the outcome %q", out.Kind)
	}
	end.Outcome, end.Error = wire.Failed, wire.Clip(err.Error())
	ended := context.Cause(p.ctx)
	switch {
	case errors.Is(err, ErrInterrupted):
		end.Outcome = wire.Interrupted
	case Interruption(err) || ended != nil && errors.Is(err, ended):
		end.Outcome = wire.Interrupted
		if p.awaitCause() {
			return end, false
		}
	}
	return end, true
}

// awaitNotices waits until the coordinator has heard what was told, or the part is over.
func (p *part) awaitNotices() {
	heard := make(chan struct{})
	go func() { // ends with the session, at the latest
		p.notices.Wait()
		close(heard)
	}()
	select {
	case <-heard:
	case <-p.over.Done():
	}
}

func (p *part) logEnd(end wire.Ended) {
	log := p.agent.logger.Info
	if end.Error != "" {
		log = p.agent.logger.Error
	}
	log("part ended", "job", end.Run, "generation", end.Generation, "outcome", end.Outcome, "step", end.Step, "err", end.Error)
}

// ErrInterrupted marks an error of a trainer after which another generation may go on, and of which the coordinator shall
// hear at once.
var ErrInterrupted = errors.New("interrupted")

// Interruption says whether an error follows from something else, in general on another worker: then the job is not at
// fault, and another generation may go on.
func Interruption(err error) bool {
	for _, e := range []error{
		context.Canceled, context.DeadlineExceeded, allreduce.ErrAborted, allreduce.ErrDeadline, allreduce.ErrMismatch,
		allreduce.ErrClosed, allreduce.ErrLinkClosed, loss.ErrElsewhere,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// awaitCause gives the coordinator a moment to tell of what lies behind an interruption.
func (p *part) awaitCause() (told bool) {
	timer := time.NewTimer(2 * p.agent.interval)
	defer timer.Stop()
	select {
	case <-p.over.Done():
		return true
	case <-timer.C:
	}
	return false
}

func (p *part) train(t Trainer) (Outcome, error) {
	if err := p.openRing(); err != nil {
		return Outcome{}, fmt.Errorf("open the ring: %w", err)
	}
	m := p.plan
	lanes := m.Members[m.Rank].Lanes
	p.agent.logger.Info("training", "job", m.Run, "generation", m.Generation, "rank", m.Rank, "lanes", lanes,
		"data_plane", dataPlane(m))
	return t.Train(p.ctx, Assignment{Plan: m, Lanes: lanes, Size: len(m.Members)}, p)
}

// openRing starts the ring of the generation. The training ends with the ring, and the ring with the training's
// context.
func (p *part) openRing() error {
	c := allreduce.Config{
		Job: p.plan.RingPrefix, Generation: p.plan.Generation, Rank: p.plan.Rank, Size: len(p.plan.Members),
		Deadline: p.plan.Deadline,
	}
	var link allreduce.Link
	closeLink := func() error { return nil }
	if c.Size > 1 {
		var err error
		if link, closeLink, err = p.agent.link(p.ctx, p.plan); err != nil {
			return err
		}
	}
	ring, err := allreduce.New(link, c)
	if err != nil {
		return errors.Join(err, closeLink())
	}
	p.ring = ring
	// The ring outlives the training's context, so that it can tell the others why it ends.
	ctx, end := context.WithCancel(context.WithoutCancel(p.ctx))
	stop := context.AfterFunc(p.ctx, func() { ring.Abort(context.Cause(p.ctx)) })
	var running sync.WaitGroup
	running.Go(func() {
		if err := ring.Run(ctx); err != nil {
			p.cancel(err)
		}
	})
	p.closeRing = func() {
		stop()
		end()
		running.Wait()
		if err := closeLink(); err != nil {
			p.agent.logger.Debug("close the ring's link", "err", err)
		}
	}
	return nil
}

// close ends the ring and all that belongs to the part.
func (p *part) close() {
	p.closeRing()
	p.cancel(nil)
	p.endOver()
}

// Ring implements Session.
func (p *part) Ring() *allreduce.Ring { return p.ring }

// Requested implements Session.
func (p *part) Requested() Request { return Request(p.requested.Load()) }

// Began implements Session.
func (p *part) Began(step int, from string) {
	p.tell("where a generation begins", wire.Began{
		Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation, Step: step, From: from,
	})
}

// SetTimes implements Session.
func (p *part) SetTimes(step int, t wire.Times) {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	if p.agent.part == p {
		b := &p.agent.beat
		b.Step, b.Times = step, t
		b.Timed, b.Total = b.Timed+1, b.Total.Plus(t)
	}
}

// Report implements Session.
func (p *part) Report(r wire.Report) {
	r.Worker, r.Run, r.Generation = p.agent.config.ID, p.plan.Run, p.plan.Generation
	data, err := wire.Encode(r.Finite())
	if err == nil {
		err = p.agent.nc.Publish(wire.WorkerSubject(p.agent.config.ID, p.agent.session), data)
	}
	if err != nil { // the next one says all that this would have; that there is no coordinator is told elsewhere
		p.agent.logger.Debug("could not report a step", "step", r.Step, "err", err)
	}
}

// Draw implements Session.
func (p *part) Draw(d wire.Distributions) {
	d.Worker, d.Run, d.Generation = p.agent.config.ID, p.plan.Run, p.plan.Generation
	data, err := wire.Encode(d)
	if err == nil {
		err = p.agent.nc.Publish(wire.WorkerSubject(p.agent.config.ID, p.agent.session), data)
	}
	if err != nil { // the next one shows more
		p.agent.logger.Debug("could not show a step's distributions", "step", d.Step, "err", err)
	}
}

// Checkpointed implements Session. Train's end waits until the coordinator has heard it.
func (p *part) Checkpointed(step int) {
	p.tell("a checkpoint", wire.CheckpointSaved{
		Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation, Step: step,
	})
}

// Notice implements Session.
func (p *part) Notice(text string) {
	p.tell("a notice", wire.Noticed{
		Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation, Text: wire.Clip(text),
	})
}

// tell lets the coordinator hear a message about the run, after those before it.
func (p *part) tell(what string, m wire.Message) {
	p.notices.Add(1)
	n := notice{what: what, message: m, generation: p.plan.Generation, done: p.notices.Done}
	p.agent.giveUp(p.agent.untold.add(n))
}
