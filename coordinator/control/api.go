package control

import (
	"context"
	"fmt"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// Submit adds a run, which begins when it is its turn and its workers are there. It returns when the run is durable.
func (s *Service) Submit(ctx context.Context, sub cluster.Submission) error {
	if err := checkSubmission(sub); err != nil {
		return err
	}
	return s.call(ctx, func() error { return s.apply(cluster.Submit{Submission: sub}) })
}

// Resume lets a run that has stopped or failed begin again, in a new generation, from the checkpoint of step
// sub.Restore (-1: from the beginning). The job must be the same; where things lie, the storage and the number of
// workers may differ from what was submitted.
func (s *Service) Resume(ctx context.Context, sub cluster.Submission) error {
	if err := checkSubmission(sub); err != nil {
		return err
	}
	return s.call(ctx, func() error { return s.apply(cluster.Resume{Submission: sub}) })
}

// checkSubmission refuses what could not be sent to workers.
func checkSubmission(sub cluster.Submission) error {
	if err := wire.CheckName("run", sub.Run); err != nil {
		return err
	}
	if sub.Spec == nil || sub.Spec.Lanes < 1 {
		return fmt.Errorf("run %s has no job, or one without lanes", sub.Run)
	}
	all := cluster.Member{Worker: "any", Lanes: make([]int, sub.Spec.Lanes)}
	for i := range all.Lanes {
		all.Lanes[i] = i
	}
	p := cluster.Plan{Generation: 1, Restore: sub.Restore, Members: []cluster.Member{all}}
	r := cluster.Run{Submission: sub, Plan: &p}
	if _, err := wire.Encode(plan(&r, 0, time.Second)); err != nil {
		return fmt.Errorf("run %s: %w", sub.Run, err)
	}
	return nil
}

// Stop asks the active run to stop after a step and to save a checkpoint. It returns when that is noted; watch for the
// phase. Without an active run it does nothing.
func (s *Service) Stop(ctx context.Context, reason string) error {
	return s.call(ctx, func() error {
		r := s.state.Active()
		if r == nil {
			return nil
		}
		return s.apply(cluster.StopRequested{Run: r.Run, Reason: wire.Clip(reason)})
	})
}

// Cancel asks a run to stop, as Stop does.
func (s *Service) Cancel(ctx context.Context, run, reason string) error {
	return s.call(ctx, func() error { return s.apply(cluster.StopRequested{Run: run, Reason: wire.Clip(reason)}) })
}

// AddToken makes a token of the API known.
func (s *Service) AddToken(ctx context.Context, c cluster.TokenAdded) error {
	return s.call(ctx, func() error { return s.apply(c) })
}

// RemoveToken makes one void.
func (s *Service) RemoveToken(ctx context.Context, name string) error {
	return s.call(ctx, func() error { return s.apply(cluster.TokenRemoved{Name: name}) })
}

// WorkerLost tells what a worker's parent process has seen: the process is gone. It is faster than a lease. A worker
// that has left is no matter; one that never came counts against a run that waits for workers.
func (s *Service) WorkerLost(ctx context.Context, worker, reason string) error {
	return s.call(ctx, func() error {
		if err := s.lose(worker, "", wire.Clip(reason)); err != nil && s.fatal != nil {
			return err
		}
		return nil // it was not there
	})
}

// call lets Run's goroutine make a call and settle what follows.
func (s *Service) call(ctx context.Context, f func() error) error {
	c := call{make: f, done: make(chan error, 1)}
	select {
	case s.calls <- c:
	case <-s.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-c.done // the loop ends only between calls
}
