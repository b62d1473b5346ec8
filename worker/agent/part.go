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

// part is the plan's part that this worker carries. It is a Session.
type part struct {
	agent  *agent
	plan   wire.Plan
	living context.Context // of the agent
	ctx    context.Context // of the training
	cancel context.CancelCauseFunc
	stop   atomic.Bool

	aborted chan struct{} // closed when abort is set
	once    sync.Once
	abort   *AbortError

	ring      *allreduce.Ring
	closeRing func()
	notices   sync.WaitGroup // of checkpoints
}

var _ Session = (*part)(nil)

func newPart(ctx context.Context, a *agent, m wire.Plan) *part {
	p := &part{agent: a, plan: m, living: ctx, aborted: make(chan struct{}), closeRing: func() {}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	return p
}

// abandon ends the training because the coordinator says so.
func (p *part) abandon(e *AbortError) {
	p.once.Do(func() {
		p.abort = e
		close(p.aborted)
		p.cancel(e)
	})
}

// carry opens the ring and lets the trainer work. The ring stays open until close.
func (p *part) carry(t Trainer) (wire.Ended, error) {
	end := wire.Ended{Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation}
	out, err := p.train(t)
	p.notices.Wait()
	if err == nil && out.Kind != wire.Finished && out.Kind != wire.Stopped {
		err = fmt.Errorf("the trainer ended with the outcome %q", out.Kind)
	}
	if err != nil {
		err = p.cause(err)
		end.Outcome, end.Error = wire.Failed, wire.Clip(err.Error())
		p.agent.logger.Error("training failed", "job", p.plan.Run, "generation", p.plan.Generation, "err", err)
		return end, err
	}
	end.Outcome, end.Step, end.WeightsSHA256 = out.Kind, out.Step, out.WeightsSHA256
	return end, nil
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
}

// cause finds what lies behind the trainer's error. An error of the ring, or of the context, follows from something
// else, often on another worker: then the coordinator is given a moment to tell of that.
func (p *part) cause(err error) error {
	ended := context.Cause(p.ctx)
	follows := errors.Is(err, context.Canceled) || ended != nil && errors.Is(err, ended)
	for _, e := range []error{
		allreduce.ErrAborted, allreduce.ErrDeadline, allreduce.ErrMismatch, allreduce.ErrClosed, loss.ErrElsewhere,
	} {
		follows = follows || errors.Is(err, e)
	}
	if !follows {
		return err
	}
	timer := time.NewTimer(2 * p.agent.interval)
	defer timer.Stop()
	select {
	case <-p.aborted:
		return p.abort
	case <-p.living.Done():
		return context.Cause(p.living)
	case <-timer.C:
	}
	if ended != nil {
		return ended
	}
	return err
}

// Ring implements Session.
func (p *part) Ring() *allreduce.Ring { return p.ring }

// StopRequested implements Session.
func (p *part) StopRequested() bool { return p.stop.Load() }

// SetTimes implements Session.
func (p *part) SetTimes(step int, t wire.Times) {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	p.agent.beat.Step, p.agent.beat.Times = step, t
}

// Report implements Session.
func (p *part) Report(r wire.Report) {
	r.Worker, r.Run, r.Generation = p.agent.config.ID, p.plan.Run, p.plan.Generation
	data, err := wire.Encode(r.Finite())
	if err == nil {
		err = p.agent.nc.Publish(wire.RunSubject(r.Run, r.Generation), data)
	}
	if err != nil { // the next one says all that this would have
		p.agent.logger.Warn("could not report a step", "step", r.Step, "err", err)
	}
}

// Checkpointed implements Session. Train's end waits until the coordinator has heard it, within the timeout.
func (p *part) Checkpointed(step int) {
	p.notices.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), p.agent.timeout)
		defer cancel()
		m := wire.CheckpointSaved{
			Worker: p.agent.config.ID, Run: p.plan.Run, Generation: p.plan.Generation, Step: step,
		}
		_, err := request[wire.Ack](ctx, p.agent.nc, wire.RunSubject(m.Run, m.Generation), m, p.agent.interval)
		if err != nil {
			p.agent.logger.Warn("could not tell of a checkpoint", "step", step, "err", err)
		}
	})
}
