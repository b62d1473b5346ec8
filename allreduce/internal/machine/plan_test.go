package machine_test

import (
	"encoding/binary"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
	"pupil/internal/random"
)

// vector is one rank's part of a bucket.
type vector struct {
	dtype frame.DType
	in    [][]byte // by rank
	sum   []byte
	has   []bool // by rank, of a state: whether it has it from the beginning; nil: a vector to be summed
}

// plan is what a ring is to do: by step, by bucket.
type plan struct {
	config machine.Config // of rank 0
	steps  [][]vector
	faults faults
	wide   int // a rank that knows no int24, if there is such a rank
}

// newPlan draws sizes, types and values.
func newPlan(rng *random.Stream, size int) plan {
	p := plan{config: machine.Config{
		Job: 99, Generation: 5, Size: size, Deadline: time.Second,
		ChunkBytes: 8 * (1 + rng.IntN(8)), Window: 1 + rng.IntN(4), EarlyBytes: rng.IntN(4000),
	}}
	p.wide = rng.IntN(4 * size) // in a quarter of all rings
	for range 1 + rng.IntN(3) {
		var step []vector
		for range rng.IntN(4) {
			if rng.IntN(6) == 0 {
				step = append(step, newState(rng, size, rng.IntN(900)))
				continue
			}
			step = append(step, newVector(rng, size, rng.IntN(60)))
		}
		p.steps = append(p.steps, step)
	}
	return p
}

func newVector(rng *random.Stream, size, n int) vector {
	v := vector{dtype: []frame.DType{frame.Int16, frame.Int32, frame.Int64}[rng.IntN(3)]}
	width := v.dtype.Size()
	zeros := rng.IntN(16) // before the bits of an int32, so that sums have 24 bits, or not, or no more from some rank on
	sums := make([]uint64, n)
	for range size {
		in := make([]byte, 0, n*width)
		for i := range n {
			x := rng.Uint64()
			switch v.dtype {
			case frame.Int16: // any sum fits
				x = uint64(int64(x)>>63) ^ x>>53
			case frame.Int32:
				x = uint64(int64(int32(x) >> zeros))
			}
			sums[i] += x
			in = binary.LittleEndian.AppendUint64(in, x)[:(i+1)*width]
		}
		v.in = append(v.in, in)
	}
	v.sum = make([]byte, 0, n*width)
	for i, x := range sums {
		v.sum = binary.LittleEndian.AppendUint64(v.sum, x)[:(i+1)*width]
	}
	return v
}

// newState is a state that some ranks have, at least one.
func newState(rng *random.Stream, size, n int) vector {
	v := vector{dtype: frame.Byte, sum: make([]byte, n), has: make([]bool, size), in: make([][]byte, size)}
	for i := range v.sum {
		v.sum[i] = byte(rng.Uint32())
	}
	for r := range v.has {
		v.has[r] = rng.IntN(2) == 0
	}
	v.has[rng.IntN(size)] = true
	return v
}
