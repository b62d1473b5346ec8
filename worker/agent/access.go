package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/wire"
)

// access is a session's user at the broker.
type access struct {
	mu             sync.Mutex
	user, password string
	asked          time.Time
}

const (
	renewTime  = 24 * time.Hour // after so long a connection that is opened anew asks for a new user first
	accessTime = 5 * time.Second
)

// obtain learns where the broker is, and as whom the session may connect to it.
func (a *agent) obtain(ctx context.Context) error {
	a.access.user, a.access.password = a.config.User, a.config.Password
	if a.config.Access == nil {
		return nil
	}
	b, err := a.config.Access(ctx, a.config.ID, a.session)
	if err != nil {
		return err
	}
	a.config.URL, a.plane = b.URL, b.DataPlane
	a.access.user, a.access.password, a.access.asked = b.User, b.Password, time.Now()
	return nil
}

// user implements nats.UserInfoCB, at each connection.
func (a *agent) user() (user, password string) {
	c := &a.access
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.config.Access != nil && time.Since(c.asked) > renewTime {
		ctx, cancel := context.WithTimeout(context.Background(), accessTime)
		defer cancel()
		if b, err := a.config.Access(ctx, a.config.ID, a.session); err == nil {
			c.user, c.password, c.asked = b.User, b.Password, time.Now()
		} else {
			a.logger.Warn("could not renew the access to the broker", "err", err)
		}
	}
	return c.user, c.password
}

// ringConnection opens a connection for a ring, as a user that has its subjects alone. What it returns beside it closes it.
func (a *agent) ringConnection(ctx context.Context, as wire.Access) (*nats.Conn, func(), error) {
	const wait = reconnectWait
	for {
		l := newLine()
		nc, err := nats.Connect(a.config.URL,
			l.options(), secure(a.config.TLS), nats.UserInfo(as.User, as.Password), nats.Name("ring of "+a.config.ID),
			nats.FlusherTimeout(a.config.JoinTimeout), nats.ReconnectBufSize(-1),
			nats.ReconnectWait(wait), nats.ReconnectJitter(wait/2, wait/2), nats.MaxReconnects(-1),
			nats.NoCallbacksAfterClientClose(),
			nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
				subject := ""
				if s != nil {
					subject = s.Subject
				}
				a.logger.Error("the ring's connection", "subject", subject, "err", err)
			}),
		)
		if err == nil {
			l.count(nc)
			return nc, a.watchRing(nc, l), nil
		}
		err = fmt.Errorf("connect the ring to the broker at %s: %w", a.config.URL, err)
		if !away(err) {
			return nil, nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
	}
}

// watchRing watches the line of a ring's connection, on which bulk data may hold an answer up for a while.
func (a *agent) watchRing(nc *nats.Conn, l *line) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	quiet := func() time.Duration {
		if !nc.IsConnected() { // then all brokers are tried in turn
			return stale
		}
		return max(a.timeout, ringQuiet)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		l.watch(ctx, quiet, func(time.Time) bool { return false }, func(why string) { a.logger.Warn("ring: " + why) })
	})
	return func() {
		nc.Close()
		cancel()
		wg.Wait()
	}
}

// ringQuiet is the shortest time without a word from the broker after which a ring goes by another one.
const ringQuiet = 2 * time.Second
