package ringsim

import (
	"math"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// doneBytes is the size of a DONE.
const doneBytes = frame.HeaderSize + 33

// Bytes are those that the busiest card sends while a vector of so many bytes is summed: of a worker for a mesh, of the
// broker's host for a broker, which receives as many. k chunks of c bytes with a header of h each travel 2(N-1) links:
//
//	mesh    2(N-1) k/N (c + h)        k/N rounded up
//	broker  2(N-1) k (c + h)
func Bytes(p Plane, ranks, vector, chunkBytes int) int64 {
	if ranks == 1 {
		return 0
	}
	chunks, size := chunking(ranks, vector, chunkBytes)
	own := chunks
	if p == Mesh {
		own = (chunks + ranks - 1) / ranks
	}
	return int64(2*(ranks-1)*own) * int64(size)
}

// chunking is how many chunks a vector of int32 is cut into, and a chunk's bytes with its header.
func chunking(ranks, vector, chunkBytes int) (chunks, size int) {
	size = machine.ChunkSize(vector, frame.Int32, ranks, chunkBytes)
	return (vector + size - 1) / size, size + frame.HeaderSize
}

// Time is how long it takes from when all ranks begin to sum a vector of int32 to when all have committed, as far as cards
// and latencies L go. A chunk makes 2(N-1) hops, and is back at its origin, which then starts another, after N. With k chunks,
// m = k/N (rounded up) of each rank, w = min(m, window) of them at a time in q = m/w turns (rounded up), and t the time that a
// card needs for a chunk with its header, it is the longer one of two times: the cards are busy, or the chunks are on their
// way.
//
//	          cards                        ways
//	mesh      2(N-1) m t + L               (2(N-1) + (q-1)N) (t + L) + (w-1) t
//	broker    2(N-1) k t + t + 2L          (2(N-1) + (q-1)N) (2t + 2L) + (Nw-1) t
//
// The commit follows: N-1 messages of 97 bytes through the card of each rank, or N(N-1) of them through the broker's. For full
// chunks, equally many of each rank, the tests find the simulation within 1% of it.
func Time(p Plane, ranks, vector, chunkBytes, window int, rate float64, latency time.Duration) time.Duration {
	if ranks == 1 {
		return 0
	}
	chunks, size := chunking(ranks, vector, chunkBytes)
	n, k, l := float64(ranks), float64(chunks), latency.Seconds()
	t := float64(size) / rate
	m := math.Ceil(k / n)
	w := math.Min(m, float64(window))
	hops := 2*(n-1) + (math.Ceil(m/w)-1)*n
	var cards, ways, commit float64
	if p == Mesh {
		cards = 2*(n-1)*m*t + l
		ways = hops*(t+l) + (w-1)*t
		commit = (n-1)*doneBytes/rate + l
	} else {
		cards = 2*(n-1)*k*t + t + 2*l
		ways = hops*(2*t+2*l) + (math.Min(n*w, k)-1)*t
		commit = n*(n-1)*doneBytes/rate + 2*l
	}
	return time.Duration((math.Max(cards, ways) + commit) * 1e9)
}
