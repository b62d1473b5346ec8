package serve

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"pupil/coordinator/control"
)

// denyPause is how soon the broker within this process hears of a token that is removed or has expired.
const denyPause = time.Second

// watchTokens keeps the workers out whose token opens nothing any more. A broker by itself does not ask.
func (s *server) watchTokens(ctx context.Context) (end func()) {
	b, ok := s.config.Broker.(*control.Broker)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(denyPause)
		defer tick.Stop()
		var before map[string]bool // nil: none was told
		own := map[string]bool{s.mark(s.config.Token): true, s.mark(s.config.WorkerToken): true}
		for {
			if now := s.denied(time.Now()); before == nil || !maps.Equal(now, before) {
				b.Deny(func(mark string) bool { return now[mark] || strings.HasPrefix(mark, ownMark) && !own[mark] })
				before = now
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// ownMark begins the marks of tokens that are in files of the coordinators, and not in their log: of these only today's open.
const ownMark = "own-"

// mark is that of a token in a worker's user at the broker.
func (s *server) mark(token string) string {
	mark := s.config.Broker.Users().Mark(hashOf(token))
	if token == s.config.Token || token == s.config.WorkerToken {
		return ownMark + mark
	}
	return mark
}

// denied are the marks of the tokens that were removed of late, or have expired.
func (s *server) denied(now time.Time) map[string]bool {
	users, marks := s.config.Broker.Users(), map[string]bool{}
	for _, r := range s.log.Removed() {
		marks[users.Mark(r.Hash)] = true
	}
	for _, t := range s.log.Tokens() {
		if !t.Expires.IsZero() && !now.Before(t.Expires) {
			marks[users.Mark(t.Hash)] = true
		}
	}
	return marks
}
