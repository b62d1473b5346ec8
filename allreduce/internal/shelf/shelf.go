// Package shelf keeps the memory of a link's messages that nobody uses any more, for others.
package shelf

import (
	"slices"
	"sync"
)

// Shelf never holds more slices than were in use at one time. Its methods are safe for concurrent use.
type Shelf struct {
	mu          sync.Mutex
	free        [][]byte
	inUse, most int
	closed      bool
}

// Take is n bytes of any content: the newest on the shelf with room for them and not much more, or new ones.
func (s *Shelf) Take(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inUse++
	s.most = max(s.most, s.inUse)
	for i := len(s.free) - 1; i >= 0; i-- {
		if m := s.free[i]; cap(m) >= n && cap(m) <= 4*n+1024 {
			s.free = slices.Delete(s.free, i, i+1)
			return m[:n]
		}
	}
	return make([]byte, n)
}

// Put takes back what Take has given.
func (s *Shelf) Put(m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inUse--
	if !s.closed && len(s.free)+max(s.inUse, 0) < s.most {
		s.free = append(s.free, m)
	}
}

// Close lets go of all, and of what comes later.
func (s *Shelf) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.free = true, nil
}
