package main

import (
	"fmt"
	"math"

	"pupil/allreduce"
	"pupil/internal/kernel"
	"pupil/internal/random"
)

// What is summed is like gradients: a job of eight lanes, shared among the ranks, whose values are normally distributed and
// independent, with another deviation in each tensor; in the fixed point that a step has when an earlier one has told how large sums
// are. So integers are as long as those of a training. A pattern of some tensors is repeated over the vector.
const (
	jobLanes      = 8
	tensorLength  = 1 << 13
	patternLength = 8 * tensorLength
)

// pattern is a rank's part of the sum, []int32 or []int16.
func pattern(rank, ranks int, format string) (any, error) {
	const tensors = patternLength / tensorLength
	scaler := allreduce.NewScaler(tensors, jobLanes)
	if format == int16s {
		var err error
		if scaler, err = allreduce.NewScaler16(tensors, jobLanes); err != nil {
			return nil, err
		}
	}
	lanes := make([][]float32, jobLanes)
	sums := make([]float64, patternLength)
	for l := range lanes {
		s := random.New(random.PurposeTest, uint64(l))
		lanes[l] = make([]float32, patternLength)
		for i := range lanes[l] {
			x := float32(math.Ldexp(s.Normal(), -i/tensorLength))
			lanes[l][i] = x
			sums[i] += float64(x)
		}
	}
	largest := make([]float64, tensors)
	for i, x := range sums {
		largest[i/tensorLength] = max(largest[i/tensorLength], math.Abs(x))
	}
	if err := scaler.Update(largest, make([]int, tensors)); err != nil {
		return nil, err
	}
	if format == int16s {
		return sumLanes16(lanes, rank, ranks, scaler), nil
	}
	return sumLanes32(lanes, rank, ranks, scaler), nil
}

// sumLanes32 is the sum of the lanes that a rank carries: one in so many.
func sumLanes32(lanes [][]float32, rank, ranks int, s *allreduce.Scaler) []int32 {
	sum, part := make([]int32, patternLength), make([]int32, tensorLength)
	for l := rank; l < len(lanes); l += ranks {
		for t, e := range s.Exponents() {
			at := t * tensorLength
			kernel.ToFixed32(part, lanes[l][at:][:tensorLength], e, s.Limit())
			kernel.AddFixed32(sum[at:][:tensorLength], part)
		}
	}
	return sum
}

func sumLanes16(lanes [][]float32, rank, ranks int, s *allreduce.Scaler) []int16 {
	sum, part := make([]int16, patternLength), make([]int16, tensorLength)
	none, after := make([]float32, tensorLength), make([]float32, tensorLength)
	for l := rank; l < len(lanes); l += ranks {
		for t, e := range s.Exponents() {
			at := t * tensorLength
			kernel.ToFixed16(part, after, lanes[l][at:][:tensorLength], none, e, int16(s.Limit()))
			kernel.AddFixed16(sum[at:][:tensorLength], part)
		}
	}
	return sum
}

// gradients are n elements.
func gradients(rank, ranks, n int, format string) (any, error) {
	p, err := pattern(rank, ranks, format)
	if err != nil {
		return nil, err
	}
	switch p := p.(type) {
	case []int32:
		return repeat(p, n), nil
	case []int16:
		return repeat(p, n), nil
	}
	return nil, fmt.Errorf("a pattern of %T", p)
}

func repeat[T int16 | int32](pattern []T, n int) []T {
	v := make([]T, n)
	for at := 0; at < n; at += len(pattern) {
		copy(v[at:], pattern)
	}
	return v
}
