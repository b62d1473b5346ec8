package frame

import "fmt"

// Trail says whose inputs a chunk holds, in the order in which they were added: the upper 16 bits count the ranks, the
// lower 48 are a running digest of them. Every rank that adds its input extends the trail that it received; a receiver
// knows the one trail that a chunk can have at its place, so that a chunk that has left out a rank, met one twice or come
// another way is refused. The zero Trail is that of nobody's input.
//
// The digest cannot be undone, as a set of bits can; but it bounds no ring, and knows the order too. Two ways of one length
// have the same trail with a probability of 2^-48; that of a damaged message that passes its checksums is 2^-32.
type Trail uint64

const (
	trailBits = 48
	trailMask = 1<<trailBits - 1
)

// Add is the trail after a rank has added its input.
func (t Trail) Add(rank int) Trail {
	x := uint64(t)&trailMask ^ (uint64(rank)+1)*0x9e3779b97f4a7c15
	// The finaliser of MurmurHash3: a change of one bit changes each bit of the result in half of all cases.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return Trail(uint64(t.Count()+1)<<trailBits | x&trailMask)
}

// Count is the number of ranks.
func (t Trail) Count() int { return int(t >> trailBits) }

// String shows count and digest.
func (t Trail) String() string {
	return fmt.Sprintf("%d ranks, digest %012x", t.Count(), uint64(t)&trailMask)
}

// Arc is the trail of n ranks from one on, around a ring.
func Arc(first, n, size int) Trail {
	var t Trail
	for i := range n {
		t = t.Add((first + i) % size)
	}
	return t
}
