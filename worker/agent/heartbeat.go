package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/wire"
)

// request sends a message until it is answered, refused for good, or ctx ends. A try may take so long as patience.
func request[T wire.Message](ctx context.Context, nc *nats.Conn, subject string, m wire.Message,
	patience time.Duration,
) (T, error) {
	var none T
	data, err := wire.Encode(m)
	if err != nil {
		return none, err
	}
	var refused *wire.Refused // the newest, which says more than a try without an answer
	for {
		next := time.NewTimer(patience)
		answer, err := try[T](ctx, nc, subject, data, patience)
		isRefused := errors.As(err, &refused)
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, wire.ErrVersion) || isRefused && !refused.Retry {
			next.Stop()
			return answer, err
		}
		select {
		case <-ctx.Done():
			next.Stop()
			if refused != nil {
				err = refused
			}
			return none, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-next.C:
		}
	}
}

// try sends an encoded message once.
func try[T wire.Message](ctx context.Context, nc *nats.Conn, subject string, data []byte,
	patience time.Duration,
) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return none, err
	}
	return wire.As[T](reply.Data)
}

// heartbeats tells the coordinator every interval that the worker lives, without waiting for an answer before the next.
// A coordinator that is silent is waited for: the training does not need it (see solitude). One that does not know the worker
// ends the session.
func (a *agent) heartbeats(ctx context.Context, answers <-chan *nats.Msg) {
	ticker := time.NewTicker(a.interval)
	defer ticker.Stop()
	alone, last := solitude{timeout: a.timeout, patience: a.config.Patience}, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-answers:
			_, err := wire.As[wire.Ack](msg.Data)
			var refused *wire.Refused
			if errors.As(err, &refused) {
				a.gone(fmt.Errorf("%w: %w", errForgotten, err))
				return
			}
			if err == nil {
				a.answered()
				if alone.end() {
					a.logger.Info("the coordinator answers again")
				}
			}
			continue
		case now := <-ticker.C:
			a.bear(&alone, min(now.Sub(last), 2*a.interval)) // what this process stood still does not count
			last = now
		case <-a.beatNow:
		}
		if err := a.sendHeartbeat(); err != nil {
			a.logger.Debug("could not send a heartbeat", "err", err)
		}
	}
}

func (a *agent) sendHeartbeat() error {
	a.mu.Lock()
	m := a.beat
	a.mu.Unlock()
	if client, err := a.nc.GetClientID(); err == nil { // else there is no connection
		m.Connection = wire.ConnectionName(a.nc.ConnectedServerId(), client)
	}
	data, err := wire.Encode(m)
	if err != nil {
		return err
	}
	return a.nc.PublishRequest(wire.WorkerSubject(a.config.ID, a.session), a.answers(), data)
}

// answers is the subject of the answers to heartbeats.
func (a *agent) answers() string { return wire.InboxPrefix(a.config.ID, a.session) + ".beats" }

// wake asks for a heartbeat at once.
func (a *agent) wake() {
	select {
	case a.beatNow <- struct{}{}:
	default: // one is due already
	}
}

// setActivity changes what heartbeats tell while p is the newest part, and sends one.
func (a *agent) setActivity(p *part, v wire.Activity) {
	a.mu.Lock()
	if a.part == p {
		a.beat.Activity = v
	}
	a.mu.Unlock()
	a.wake()
}

// missing puts a member of a generation whose process seems to have ended into the heartbeats, and sends one.
func (a *agent) missing(generation uint64, worker string) {
	a.logger.Warn("another worker's process is gone", "worker", worker, "generation", generation)
	a.mu.Lock()
	if a.beat.Generation == generation {
		a.beat.Gone = append(slices.Clip(a.beat.Gone), worker)
	}
	a.mu.Unlock()
	a.wake()
}

// takeOrders follows what the coordinator pushes. Orders of earlier generations, and those that were heard before, change
// nothing.
func (a *agent) takeOrders(ctx context.Context, orders <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-orders:
			m, err := wire.Decode(msg.Data)
			if err != nil {
				a.logger.Error("an order that cannot be read", "err", err)
				continue
			}
			a.follow(ctx, m)
		}
	}
}

func (a *agent) follow(ctx context.Context, m wire.Message) {
	a.mu.Lock()
	p := a.part
	a.mu.Unlock()
	current := func(generation uint64) bool { return p != nil && generation == p.plan.Generation }
	switch m := m.(type) {
	case wire.Inspect:
		a.describe(m)
	case wire.Plan:
		if p == nil || m.Generation > p.plan.Generation {
			a.begin(ctx, p, m)
		}
	case wire.Prepare:
		select {
		case a.prepare <- m:
		default: // one waits already; the coordinator asks again
		}
	case wire.Pause:
		if current(m.Generation) {
			a.ask(p, Pause, m.Reason)
		}
	case wire.Stop:
		if current(m.Generation) {
			a.ask(p, Stop, m.Reason)
		}
	case wire.Abort:
		if m.Generation == 0 {
			a.gone(fmt.Errorf("%w: %s", ErrCoordinatorGone, m.Reason))
		} else if current(m.Generation) {
			p.abandon(m.Reason)
		}
	}
}

// ask passes a request on to the trainer.
func (a *agent) ask(p *part, r Request, reason string) {
	if old := p.requested.Swap(int32(r)); old == int32(r) {
		return
	}
	a.logger.Info("asked to end after a step", "job", p.plan.Run, "generation", p.plan.Generation, "reason", reason)
	a.mu.Lock()
	if a.part == p && a.beat.Activity == wire.Training {
		a.beat.Activity = wire.Stopping
	}
	a.mu.Unlock()
	a.wake()
}

// begin takes a plan in place of an earlier one.
func (a *agent) begin(ctx context.Context, before *part, m wire.Plan) {
	if got := m.Members[m.Rank].ID; got != a.config.ID {
		a.logger.Error("a plan for another worker", "worker", got)
		return
	}
	p := newPart(ctx, a, m)
	var skipped *part // it was not begun with
	a.mu.Lock()
	a.part = p
	a.beat.Generation, a.beat.Activity, a.beat.Gone = m.Generation, wire.Training, nil
	select {
	case skipped = <-a.plans:
	default:
	}
	a.plans <- p // there is room: only this goroutine sends. No heartbeat tells of a plan before a worker that leaves sees it
	a.mu.Unlock()
	a.wake()
	if before != nil {
		before.abandon(fmt.Sprintf("generation %d follows", m.Generation))
	}
	if skipped != nil {
		skipped.close()
	}
}
