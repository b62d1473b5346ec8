package control

import (
	"context"
	"crypto/rand"
	"fmt"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// Inspect asks a worker to describe its process, and waits for the answer: the JSON of a diagnose.Process.
func (s *Service) Inspect(ctx context.Context, worker string) (report string, err error) {
	request, answer := rand.Text(), make(chan string, 1)
	err = s.call(ctx, func() error {
		l := s.leases[worker]
		if l == nil {
			return fmt.Errorf("%w: there is no worker %s", cluster.ErrUnknown, worker)
		}
		if s.inspections == nil {
			s.inspections = make(map[string]chan<- string)
		}
		s.inspections[request] = answer
		s.push(l.subject, wire.Inspect{Request: request})
		return nil
	})
	if err != nil {
		return "", err
	}
	defer func() { // a service that has ended has no requests any more
		_ = s.call(context.WithoutCancel(ctx), func() error { delete(s.inspections, request); return nil })
	}()
	select {
	case report := <-answer:
		return report, nil
	case <-s.ended:
		return "", ErrClosed
	case <-ctx.Done():
		return "", fmt.Errorf("worker %s does not answer: %w", worker, context.Cause(ctx))
	}
}

// inspected passes an answer on to who has asked. Only one is taken.
func (s *Service) inspected(m wire.Inspected) {
	if answer := s.inspections[m.Request]; answer != nil {
		delete(s.inspections, m.Request)
		answer <- m.Report
	}
}
