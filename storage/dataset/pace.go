package dataset

import (
	"sync"
	"time"
)

// Bounds of what one request for images that do not fit into memory may read, in bytes.
const (
	pieceBytes = 32 << 10
	mostBytes  = 2 << 20
)

// pace finds out how large a request should be. A store takes a while to answer, and then sends at some rate. As long as the
// bytes of an answer take less time than it took to begin, twice as many cost little more: the next request asks for neighbours,
// too, which are needed later. Where the rate is what is short, requests stay small, for what is needed first must not wait for
// what is needed later. The zero value asks for pieceBytes.
type pace struct {
	mu    sync.Mutex
	reach int64 // bytes
}

// now is how many bytes a request may have.
func (p *pace) now() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.reach, pieceBytes)
}

// learn takes in how long an answer of n bytes took to begin, and from then to its end. One that is much smaller than it
// might be tells nothing.
func (p *pace) learn(n int64, begin, rest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reach = max(p.reach, pieceBytes)
	switch {
	case 2*n < p.reach:
	case rest < begin:
		p.reach = min(2*p.reach, mostBytes)
	case rest > 2*begin:
		p.reach = max(p.reach/2, pieceBytes)
	}
}
