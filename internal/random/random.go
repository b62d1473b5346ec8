// Package random is Pupil's only source of randomness: counter-based, so that a value is a function of a key and a
// position, never of the order of calls, of a worker, or of time (DESIGN section 3, "Randomness").
//
// The generator is Philox4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). The words
// of a key are absorbed one after another into Philox's 64-bit key; a stream then counts blocks.
package random

import (
	"math"
	"math/bits"

	"pupil/internal/random/elementary"
)

// Purposes are the first word of every key, so that two uses of the same numbers never share a stream.
const (
	PurposeInit     uint64 = iota + 1 // initial weights: seed, tensor number
	PurposePrior                      // the prior's initial distribution: seed, group (of features and of the prior)
	PurposeOrder                      // the order of an epoch: seed, epoch, part
	PurposeAugment                    // views: seed, epoch, sample, view, operation
	PurposeTest                       // tests
	PurposeChannels                   // the order of a head's channels: seed, head
	PurposeClusters                   // first centres of k-means: seed, start
)

// Stream is a sequence of pseudo-random numbers. It is not safe for concurrent use; make one where it is needed, that
// costs a few multiplications.
type Stream struct {
	key     [2]uint32
	counter uint64
	block   [4]uint32
	left    int // words of block that are not used yet

	spare    float64 // second value of a Box-Muller pair
	hasSpare bool
}

// New returns the stream of a key. The order and the number of words matter: New(1, 2), New(2, 1) and New(1, 2, 0)
// differ.
//
// It is small enough to be inlined, so that a stream that does not escape costs no allocation.
func New(words ...uint64) *Stream { return &Stream{key: absorb(words)} }

// absorb makes Philox's key of the words of ours.
func absorb(words []uint64) [2]uint32 {
	key := [2]uint32{0x243f6a88, 0x85a308d3} // fractional digits of pi
	for i, w := range words {
		out := philox([4]uint32{uint32(w), uint32(w >> 32), uint32(i + 1), 0x50555049}, key)
		key = [2]uint32{out[0] ^ out[2], out[1] ^ out[3]}
	}
	return key
}

// Uint32 returns the next 32 bits.
func (s *Stream) Uint32() uint32 {
	if s.left == 0 {
		s.block = philox([4]uint32{uint32(s.counter), uint32(s.counter >> 32), 0, 0}, s.key)
		s.counter++
		s.left = 4
	}
	s.left--
	return s.block[3-s.left]
}

// Uint64 returns the next 64 bits.
func (s *Stream) Uint64() uint64 {
	lo := s.Uint32()
	return uint64(s.Uint32())<<32 | uint64(lo)
}

// Float64 returns the next number of the uniform distribution on [0, 1), with 53 random bits.
func (s *Stream) Float64() float64 { return float64(float64(s.Uint64()>>11) * 0x1p-53) }

// Uniform returns the next number of the uniform distribution on [low, high). Rounding can give high itself.
func (s *Stream) Uniform(low, high float64) float64 { return low + float64((high-low)*s.Float64()) }

// IntN returns the next number of the uniform distribution on 0..n-1 (Lemire's method, unbiased). It panics for n < 1.
func (s *Stream) IntN(n int) int {
	if n < 1 {
		panic("random: IntN needs n of 1 or more")
	}
	bound := uint64(n)
	hi, lo := bits.Mul64(s.Uint64(), bound)
	if lo < bound {
		threshold := -bound % bound
		for lo < threshold {
			hi, lo = bits.Mul64(s.Uint64(), bound)
		}
	}
	return int(hi)
}

// Normal returns the next number of the standard normal distribution N(0, 1) (Box-Muller).
func (s *Stream) Normal() float64 {
	if s.hasSpare {
		s.hasSpare = false
		return s.spare
	}
	u := 1 - s.Float64() // (0, 1]
	sin, cos := elementary.SinCos(2 * math.Pi * s.Float64())
	r := math.Sqrt(-2 * elementary.Log(u))
	s.spare, s.hasSpare = r*sin, true
	return r * cos
}

// Laplace returns the next number of the Laplace distribution with mean 0 and scale 1.
func (s *Stream) Laplace() float64 {
	u := s.Float64() - 0.5
	tail := max(1-float64(2*math.Abs(u)), 0x1p-53) // exact but for u = -1/2, whose logarithm would be infinite
	return -math.Copysign(elementary.Log(tail), u)
}

// Perm returns a permutation of 0..n-1, each as likely as any other (Fisher-Yates).
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.IntN(i + 1)
		p[i], p[j] = p[j], i
	}
	return p
}

// philox is the Philox4x32-10 bijection.
func philox(x [4]uint32, key [2]uint32) [4]uint32 {
	const (
		m0, m1 = 0xd2511f53, 0xcd9e8d57
		w0, w1 = 0x9e3779b9, 0xbb67ae85
	)
	a, b, c, d := x[0], x[1], x[2], x[3] // scalars stay in registers, arrays do not
	k0, k1 := key[0], key[1]
	for range 10 {
		p, q := m0*uint64(a), m1*uint64(c)
		a, b, c, d = uint32(q>>32)^b^k0, uint32(q), uint32(p>>32)^d^k1, uint32(p)
		k0 += w0
		k1 += w1
	}
	return [4]uint32{a, b, c, d}
}
