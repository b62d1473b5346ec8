package agent

import (
	"context"
	"errors"
	"fmt"
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
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) || isRefused && !refused.Retry {
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

// heartbeats tells the coordinator every interval that the worker lives, and ends everything when the coordinator does
// not answer for the timeout, or does not know the worker. It does not wait for an answer before it sends the next.
func (a *agent) heartbeats(ctx context.Context, answers <-chan *nats.Msg) {
	const fewest = 3 // unanswered heartbeats: this process may have stood still for longer than the timeout
	ticker := time.NewTicker(a.interval)
	defer ticker.Stop()
	heard, unanswered := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-answers:
			_, err := wire.As[wire.Ack](msg.Data)
			var refused *wire.Refused
			if errors.As(err, &refused) {
				a.gone(fmt.Errorf("%w for this worker: %w", ErrCoordinatorGone, err))
				return
			}
			if err == nil {
				heard, unanswered = time.Now(), 0
			}
			continue
		case <-ticker.C:
		case <-a.beatNow:
		}
		if unanswered >= fewest && time.Since(heard) > a.timeout {
			a.gone(fmt.Errorf("%w: it has not answered for %s", ErrCoordinatorGone, a.timeout))
			return
		}
		unanswered++
		if err := a.sendHeartbeat(); err != nil {
			a.logger.Debug("could not send a heartbeat", "err", err)
		}
	}
}

func (a *agent) sendHeartbeat() error {
	a.mu.Lock()
	m := a.beat
	a.mu.Unlock()
	data, err := wire.Encode(m)
	if err != nil {
		return err
	}
	return a.nc.PublishRequest(wire.WorkerSubject(a.config.ID, a.session), a.answers(), data)
}

// answers is the subject of the answers to heartbeats.
func (a *agent) answers() string { return wire.InboxPrefix + "." + a.session }

// wake asks for a heartbeat at once.
func (a *agent) wake() {
	select {
	case a.beatNow <- struct{}{}:
	default: // one is due already
	}
}

// setActivity changes what heartbeats tell, and sends one.
func (a *agent) setActivity(v wire.Activity) {
	a.mu.Lock()
	a.beat.Activity = v
	a.mu.Unlock()
	a.wake()
}

// takeOrders follows what the coordinator pushes. Orders of other generations than the plan's, and those that were
// heard before, change nothing.
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
	switch m := m.(type) {
	case wire.Plan:
		if p == nil {
			a.begin(ctx, m)
		}
	case wire.Stop:
		if p != nil && m.Generation == p.plan.Generation && !p.stop.Swap(true) {
			a.logger.Info("asked to stop", "job", p.plan.Run, "generation", m.Generation, "reason", m.Reason)
			a.mu.Lock()
			if a.beat.Activity == wire.Training {
				a.beat.Activity = wire.Stopping
			}
			a.mu.Unlock()
			a.wake()
		}
	case wire.Abort:
		if m.Generation == 0 {
			a.gone(fmt.Errorf("%w: %s", ErrCoordinatorGone, m.Reason))
		} else if p != nil && m.Generation == p.plan.Generation {
			p.abandon(&AbortError{Generation: m.Generation, Reason: m.Reason})
		}
	case wire.Dismiss:
		if p != nil && m.Generation == p.plan.Generation {
			select {
			case a.dismissed <- struct{}{}:
			default: // heard before
			}
		}
	}
}

// begin takes the plan.
func (a *agent) begin(ctx context.Context, m wire.Plan) {
	if got := m.Members[m.Rank].ID; got != a.config.ID {
		a.logger.Error("a plan for another worker", "worker", got)
		return
	}
	p := newPart(ctx, a, m)
	a.mu.Lock()
	a.part = p
	a.beat.Generation, a.beat.Activity, a.beat.Step = m.Generation, wire.Training, max(0, m.RestoreStep)
	a.mu.Unlock()
	a.wake()
	a.plans <- p // there is room: it is the only one
}
