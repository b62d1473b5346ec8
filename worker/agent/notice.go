package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pupil/coordinator/wire"
)

// notice is something that the coordinator shall hear once: where a generation begins, which checkpoint is whole. It waits for a
// coordinator as long as the session lasts, since the ledger would have a gap without it.
type notice struct {
	what       string
	message    wire.Message
	generation uint64
	done       func() // called when it was heard, refused or given up
}

// mostUntold bounds the notices that wait. Those that are newer count for more.
const mostUntold = 256

// untold are the notices that wait, in their order.
type untold struct {
	mu    sync.Mutex
	list  []notice
	ended bool
	more  chan struct{} // something has come
}

func newUntold() *untold { return &untold{more: make(chan struct{}, 1)} }

// add puts a notice behind the others, in place of the oldest one if there are too many. It returns what nobody will hear: that
// one, or after the end the notice itself.
func (u *untold) add(n notice) (dropped []notice) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return []notice{n}
	}
	if u.list = append(u.list, n); len(u.list) > mostUntold {
		dropped, u.list = slices.Clone(u.list[:1]), slices.Delete(u.list, 0, 1)
	}
	select {
	case u.more <- struct{}{}:
	default: // it is known
	}
	return dropped
}

// next takes the oldest notice.
func (u *untold) next() (n notice, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) == 0 {
		return n, false
	}
	n, u.list = u.list[0], u.list[1:]
	return n, true
}

// end returns what is left. Nothing more is taken.
func (u *untold) end() (left []notice) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	left, u.list = u.list, nil
	return left
}

// giveUp lets nobody wait for notices that the coordinator will not hear.
func (a *agent) giveUp(all []notice) {
	for _, n := range all {
		a.logger.Warn("could not tell of "+n.what, "generation", n.generation)
		n.done()
	}
}

// tellNotices tells one after the other until ctx ends, and then what is left, within the timeout.
func (a *agent) tellNotices(ctx context.Context) {
	words, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrCoordinatorGone) {
			cancel()
			return
		}
		time.AfterFunc(a.timeout, cancel)
	})()
	for words.Err() == nil {
		if n, ok := a.untold.next(); ok {
			a.tell(words, n)
			continue
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case <-a.untold.more:
		case <-ctx.Done():
		}
	}
	a.giveUp(a.untold.end())
}

func (a *agent) tell(ctx context.Context, n notice) {
	defer n.done()
	_, err := request[wire.Ack](ctx, a.nc, wire.WorkerSubject(a.config.ID, a.session), n.message, a.interval)
	if err != nil {
		a.logger.Warn("could not tell of "+n.what, "generation", n.generation, "err", err)
	}
}
