package dataset

import (
	"errors"
	"fmt"

	"pupil/internal/random"
)

// Order says which samples a lane uses in a step: a pure function of its fields, the same on every machine.
//
// The order of an epoch is made in four steps (DESIGN section 7).
//
//  1. Each shard is cut into chunks of Chunk consecutive samples; the last of a shard can be shorter.
//  2. A permutation of all chunks, drawn from (Seed, epoch), puts them in a row.
//  3. The first StepsPerEpoch * Batch samples of the row are cut into Lanes equal contiguous ranges, one a lane. The
//     rest, fewer than Batch samples, is left out of this epoch.
//  4. Within a lane's range a permutation drawn from (Seed, epoch, lane) orders the samples. Step k of the epoch uses
//     the samples k*Batch/Lanes and following of every lane.
//
// So each sample is used at most once in an epoch. A lane's range is a run of whole chunks but for its two ends, and
// that bounds the shards it touches: with chunks as large as shards, about 1/Lanes of all shards; with small chunks the
// images mix better, and a lane touches most shards.
//
// A valid Order (see Validate) never fails. The methods of one that is not valid return nothing. All are safe for
// concurrent use.
type Order struct {
	Count       int    // samples of the dataset
	Batch       int    // samples of a step, over all lanes
	Lanes       int    // divides Batch
	Chunk       int    // consecutive samples of a shard that stay in one lane's range, up to its ends
	ShardCounts []int  // samples of each shard, in order; their sum is Count
	Seed        uint64 // of the job
}

// Validate returns every fault of the Order in one error.
func (o Order) Validate() error {
	var errs []error
	if o.Batch < 1 {
		errs = append(errs, fmt.Errorf("batch is %d, want 1 or more", o.Batch))
	}
	if o.Lanes < 1 {
		errs = append(errs, fmt.Errorf("lanes is %d, want 1 or more", o.Lanes))
	}
	if o.Batch > 0 && o.Lanes > 0 && o.Batch%o.Lanes != 0 {
		errs = append(errs, fmt.Errorf("batch %d is not a multiple of lanes %d", o.Batch, o.Lanes))
	}
	if o.Chunk < 1 {
		errs = append(errs, fmt.Errorf("chunk is %d, want 1 or more", o.Chunk))
	}
	if o.Count < max(o.Batch, 1) {
		errs = append(errs, fmt.Errorf("%d images are fewer than a batch of %d", o.Count, o.Batch))
	}
	sum := 0
	for i, n := range o.ShardCounts {
		if n < 0 || n > o.Count-sum {
			errs = append(errs, fmt.Errorf("shard %d has %d images, more than count leaves", i, n))
			return errors.Join(errs...)
		}
		sum += n
	}
	if sum != o.Count {
		errs = append(errs, fmt.Errorf("the shards have %d images, count is %d", sum, o.Count))
	}
	return errors.Join(errs...)
}

// StepsPerEpoch returns Count / Batch, rounded down.
func (o Order) StepsPerEpoch() int {
	if o.Batch < 1 || o.Count < 1 {
		return 0
	}
	return o.Count / o.Batch
}

// Lane returns the numbers of a lane's samples of an epoch, in the order of use: StepsPerEpoch * Batch / Lanes of them.
// It costs a pass over the chunks of the dataset and the samples of the lane, some milliseconds for a million images:
// keep the result for the epoch, or use a Cursor.
func (o Order) Lane(epoch, lane int) []int {
	if epoch < 0 || lane < 0 || lane >= o.Lanes || o.Validate() != nil {
		return nil
	}
	n := o.StepsPerEpoch() * o.Batch / o.Lanes
	samples := o.row(epoch, lane*n, n)
	out := make([]int, n)
	for i, j := range random.New(random.PurposeOrder, o.Seed, uint64(epoch), uint64(lane)+1).Perm(n) {
		out[i] = samples[j]
	}
	return out
}

// LeftOut returns the numbers of the samples that an epoch does not use, fewer than Batch, in the order of the row.
func (o Order) LeftOut(epoch int) []int {
	if epoch < 0 || o.Validate() != nil {
		return nil
	}
	used := o.StepsPerEpoch() * o.Batch
	return o.row(epoch, used, o.Count-used)
}

// At returns the epoch of a step, counted from 0 over the whole job, and the samples of a lane in it, Batch / Lanes of
// them. It costs as much as Lane: to walk through steps, use a Cursor.
func (o Order) At(step, lane int) (epoch int, samples []int) { return o.Cursor(lane).At(step) }

// Cursor returns a cursor of a lane.
func (o Order) Cursor(lane int) *Cursor { return &Cursor{order: o, lane: lane, epoch: -1} }

// Cursor gives the samples of one lane step by step. It keeps the order of one epoch, so that a step costs nothing
// while the epoch stays the same. It is not safe for concurrent use.
type Cursor struct {
	order   Order
	lane    int
	epoch   int   // of samples; -1 before the first
	samples []int // Lane(epoch, lane)
}

// At returns what Order.At does. The samples must not be changed.
func (c *Cursor) At(step int) (epoch int, samples []int) {
	steps := c.order.StepsPerEpoch()
	if steps == 0 || step < 0 {
		return 0, nil
	}
	if epoch = step / steps; epoch != c.epoch {
		c.epoch, c.samples = epoch, c.order.Lane(epoch, c.lane)
	}
	n := len(c.samples) / steps
	first := step % steps * n
	return epoch, c.samples[first : first+n : first+n]
}

// row returns n samples of an epoch's row of permuted chunks, from position first.
func (o Order) row(epoch, first, n int) []int {
	chunks := o.chunks()
	out := make([]int, 0, n)
	at := 0 // position of the chunk in the row
	for _, i := range random.New(random.PurposeOrder, o.Seed, uint64(epoch), 0).Perm(len(chunks)) {
		c := chunks[i]
		from, to := max(first-at, 0), min(first+n-at, c.count)
		for k := from; k < to; k++ {
			out = append(out, c.first+k)
		}
		if at += c.count; at >= first+n {
			break
		}
	}
	return out
}

// chunk is a run of samples of one shard.
type chunk struct{ first, count int }

// chunks returns all chunks in the order of the dataset.
func (o Order) chunks() []chunk {
	var out []chunk
	first := 0
	for _, count := range o.ShardCounts {
		for k := 0; k < count; k += o.Chunk {
			out = append(out, chunk{first + k, min(o.Chunk, count-k)})
		}
		first += count
	}
	return out
}
