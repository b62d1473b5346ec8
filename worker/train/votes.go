package train

import (
	"context"
	"errors"
	"fmt"
)

// What Run returns when a replica's weights are not those of the others, as after a flipped bit in its memory. Both end
// the generation before the step is committed; in the next one the replica takes the state of the others, or all go back
// to a checkpoint when there is no state of most.
var (
	// ErrDiverged says that this worker's are the odd ones, or that there is no majority.
	ErrDiverged = errors.New("the replicas differ")
	// ErrOtherDiverged says that they are another worker's.
	ErrOtherDiverged = errors.New("another replica differs")
)

// votes are what all workers must agree on after a step.
type votes struct {
	stop, yield bool
	save        bool // a checkpoint that has failed is tried again
	skipped     int
	digests     []int64 // by rank: of the weights that the step was computed with; empty: not compared in this step
}

// vote tells all workers what this one has to say about a step.
func (t *Trainer) vote(ctx context.Context, v *votes, part Part, ring uint64) error {
	const fields = 4
	sums := []int64{0, 0, 0, int64(v.skipped)}
	switch t.config.Control.Requested() {
	case Stop:
		sums[0] = 1
	case Yield:
		sums[1] = 1
	}
	if t.saver.again(t.state.Step + 1) {
		sums[2] = 1
	}
	if every := t.config.CompareEvery; part.Size > 1 && every > 0 && t.state.Step%every == 0 {
		sums = append(sums, make([]int64, part.Size)...)
		sums[fields+part.Rank] = int64(t.state.Fingerprint())
	}
	if err := part.Reducer.ReduceInt64(ctx, ring, bucketControl, sums); err != nil {
		return fmt.Errorf("all-reduce of the votes: %w", err)
	}
	v.stop, v.yield, v.save, v.skipped, v.digests = sums[0] > 0, sums[1] > 0, sums[2] > 0, int(sums[3]), sums[fields:]
	return nil
}

// compare says whether all replicas have computed the step with the same weights. If not, the step's sums are wrong, and
// are forgotten.
func (t *Trainer) compare(digests []int64, rank int) error {
	votes := map[int64]int{}
	for _, d := range digests {
		votes[d]++
	}
	if len(votes) < 2 {
		return nil
	}
	t.drop()
	most, odd := majority(votes)
	if 2*votes[most] <= len(digests) {
		return fmt.Errorf("%w: %d workers have %d different states, and none is that of most; all go back to a checkpoint",
			ErrDiverged, len(digests), len(votes))
	}
	if digests[rank] != most {
		return fmt.Errorf("%w: the weights of this worker are not those of %d others; it is filled anew from them",
			ErrDiverged, votes[most])
	}
	return fmt.Errorf("%w: the weights of %d of %d workers", ErrOtherDiverged, odd, len(digests))
}

// majority is the digest that most have, and how many have another one.
func majority(votes map[int64]int) (most int64, odd int) {
	all := 0
	for d, n := range votes {
		all += n
		if n > votes[most] || n == votes[most] && d < most {
			most = d
		}
	}
	return most, all - votes[most]
}
