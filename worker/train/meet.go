package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// standing is where a worker stands at the beginning of a generation.
type standing struct {
	step     int   // committed
	complete bool  // all sums of the next one are there, so that it can commit that too
	digest   int64 // of the state after step
}

// newest is the step that the worker can stand at without help.
func (s standing) newest() int {
	if s.complete {
		return s.step + 1
	}
	return s.step
}

// meet finds out where the workers of a generation stand, and brings all to the same step: the newest that one of them,
// or a checkpoint, has. Every step on the way is the same wherever it was made, so any of them would be right.
func (t *Trainer) meet(ctx context.Context, part Part) (from Origin, err error) {
	if part.Size == 1 {
		return t.meetAlone(ctx, part)
	}
	all, err := t.rollCall(ctx, part)
	if err != nil {
		return "", fmt.Errorf("roll call: %w", err)
	}
	newest := part.Saved
	for _, s := range all {
		newest = max(newest, s.newest())
	}
	have := make([]bool, part.Size) // by rank: it stands at the newest step, or can
	for rank, s := range all {
		have[rank] = s.newest() == newest
	}
	if !trust(all, have, newest) || !slices.Contains(have, true) {
		return t.reload(ctx, part)
	}
	from = FromItself
	if have[part.Rank] && t.state.Step < newest {
		if err := t.finish(); err != nil {
			return "", err
		}
	}
	if slices.Contains(have, false) {
		if !have[part.Rank] {
			from = FromPeer
		} else if err := t.goOn(part.Carried); err != nil {
			return "", err
		}
		if err := t.share(ctx, part.Reducer, ringShare, have[part.Rank], t.state.Snapshot); err != nil {
			return "", fmt.Errorf("hand over the state of step %d: %w", newest, err)
		}
	}
	lost, err := t.gather(ctx, part.Reducer)
	if err != nil {
		return "", err
	}
	if lost {
		return t.reload(ctx, part)
	}
	return from, nil
}

// goOn lets a worker that has the newest state compute the next step while others still take theirs. Error feedback comes
// first: the lanes need it.
func (t *Trainer) goOn(carried []int) error {
	if t.state.Feedback != nil {
		return nil
	}
	err := t.carry(carried)
	if err == nil {
		t.begin(carried)
	}
	return err
}

// meetAlone is meet for the only worker.
func (t *Trainer) meetAlone(ctx context.Context, part Part) (Origin, error) {
	if t.pending != nil && t.pending.complete {
		if err := t.finish(); err != nil {
			return "", err
		}
	}
	if part.Saved <= t.state.Step && len(t.state.Feedback.Missing(part.Carried)) == 0 {
		return FromItself, nil
	}
	return FromCheckpoint, t.load(ctx, part)
}

// gather hands the lanes' error feedback to all. It tells when that of some is lost.
func (t *Trainer) gather(ctx context.Context, r Reducer) (lost bool, err error) {
	if t.state.Feedback == nil {
		return false, nil
	}
	var nowhere *LostFeedbackError
	err = t.state.GatherFeedback(ctx, r, ringGather)
	if lost = errors.As(err, &nowhere); lost {
		err = nil
	}
	if err == nil {
		err = r.Commit(ctx, ringGather)
	}
	return lost, err
}

// reload lets all begin from the newest checkpoint, which rank 0 reads.
func (t *Trainer) reload(ctx context.Context, part Part) (Origin, error) {
	from := FromPeer
	if part.Rank == 0 {
		from = FromCheckpoint
		if err := t.load(ctx, part); err != nil {
			return "", err
		}
	}
	if err := t.share(ctx, part.Reducer, ringReload, part.Rank == 0, t.state.Checkpoint); err != nil {
		return "", fmt.Errorf("hand over the checkpoint: %w", err)
	}
	return from, nil
}

// rollCall tells every worker where all stand, by rank.
func (t *Trainer) rollCall(ctx context.Context, part Part) ([]standing, error) {
	const fields = 3
	sums := make([]int64, fields*part.Size)
	own := sums[fields*part.Rank:]
	own[0], own[2] = int64(t.state.Step), int64(t.state.Fingerprint())
	if t.pending != nil && t.pending.complete {
		own[1] = 1
	}
	if err := part.Reducer.ReduceInt64(ctx, ringMeet, bucketControl, sums); err != nil {
		return nil, err
	}
	if err := part.Reducer.Commit(ctx, ringMeet); err != nil {
		return nil, err
	}
	all := make([]standing, part.Size)
	for i := range all {
		s := sums[fields*i:]
		all[i] = standing{step: int(s[0]), complete: s[1] != 0, digest: s[2]}
	}
	return all, nil
}

// trust takes from have the workers whose state of the newest step is not that of most, and says whether there is a
// state of most. Those that still have to commit the step are not asked: they have the sums of all.
func trust(all []standing, have []bool, newest int) bool {
	votes, voters := map[int64]int{}, 0
	for rank, s := range all {
		if have[rank] && s.step == newest {
			votes[s.digest]++
			voters++
		}
	}
	most, _ := majority(votes)
	for rank, s := range all {
		have[rank] = have[rank] && (s.step < newest || s.digest == most)
	}
	return voters == 0 || 2*votes[most] > voters
}

// load puts the newest checkpoint into the state.
func (t *Trainer) load(ctx context.Context, part Part) error {
	s, err := part.Load(ctx)
	if err != nil {
		return err
	}
	t.drop()
	return t.state.Restore(s)
}

// share hands the state, as snapshot copies it, to the workers that lack it, which this one does unless it has it.
func (t *Trainer) share(ctx context.Context, r Reducer, step uint64, have bool, snapshot func() (Snapshot, error)) error {
	var data []byte
	if have {
		s, err := snapshot()
		if err != nil {
			return err
		}
		if data, err = s.Encode(); err != nil {
			return err
		}
	}
	data, err := r.Share(ctx, step, bucketControl, data, maxState)
	if err == nil {
		err = r.Commit(ctx, step)
	}
	if err != nil || have {
		return err
	}
	s, err := DecodeSnapshot(data)
	if err != nil {
		return err
	}
	t.drop()
	return t.state.Restore(s)
}
