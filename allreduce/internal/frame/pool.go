package frame

import (
	"math/bits"
	"sync"
)

// Pool lends memory and takes it back. What waits to be lent again is never more than what was lent at one time. Its
// methods are safe for concurrent use; a nil Pool allocates, and counts nothing.
type Pool struct {
	// Freed sees memory that is not lent any more, before it is lent again. Tests overwrite it.
	Freed func([]byte)

	mu       sync.Mutex
	free     map[int][]*Buffer // by capacity
	adopters []*Buffer         // without memory, for Adopt
	stats    PoolStats
	most     int // bytes that were lent at one time
	closed   bool
}

// PoolStats counts a pool's memory.
type PoolStats struct {
	Lent      int // buffers
	LentBytes int
	IdleBytes int // of the buffers that wait to be lent again
	Misused   int // releases of what nobody held
}

// Buffer is memory that several may hold. A nil Buffer stands for memory that nobody counts.
type Buffer struct {
	Bytes   []byte
	holders int // guarded by pool.mu
	pool    *Pool
	home    func([]byte) // where adopted memory goes
	adopted bool
}

// roundUp is the capacity of a buffer of n bytes: at most an eighth more.
func roundUp(n int) int {
	unit := 1 << max(6, bits.Len(uint(n))-4)
	return (n + unit - 1) / unit * unit
}

// Get lends n bytes of any content to one holder.
func (p *Pool) Get(n int) *Buffer {
	if p == nil {
		return &Buffer{Bytes: make([]byte, n)}
	}
	size := roundUp(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	var b *Buffer
	if list := p.free[size]; len(list) > 0 {
		b = list[len(list)-1]
		list[len(list)-1] = nil
		p.free[size] = list[:len(list)-1]
		p.stats.IdleBytes -= size
	} else {
		b = &Buffer{Bytes: make([]byte, size), pool: p}
	}
	b.Bytes, b.holders = b.Bytes[:n], 1
	p.lend(cap(b.Bytes))
	return b
}

func (p *Pool) lend(n int) {
	p.stats.Lent++
	p.stats.LentBytes += n
	p.most = max(p.most, p.stats.LentBytes)
}

// Adopt counts foreign memory, with one holder. home, if not nil, gets it after the last Release.
func (p *Pool) Adopt(memory []byte, home func([]byte)) *Buffer {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var b *Buffer
	if n := len(p.adopters); n > 0 {
		b, p.adopters = p.adopters[n-1], p.adopters[:n-1]
	} else {
		b = &Buffer{pool: p, adopted: true}
	}
	b.Bytes, b.home, b.holders = memory, home, 1
	p.lend(cap(memory))
	return b
}

// Keep adds a holder and returns b.
func (b *Buffer) Keep() *Buffer {
	if b == nil || b.pool == nil {
		return b
	}
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.holders++
	return b
}

// Release takes a holder away. After the last, the memory is another's.
func (b *Buffer) Release() {
	if b == nil || b.pool == nil {
		return
	}
	if home, memory := b.pool.release(b); home != nil {
		home(memory)
	}
}

// release returns where the memory goes, if it is not the pool's and has a home.
func (p *Pool) release(b *Buffer) (home func([]byte), memory []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.holders <= 0 {
		p.stats.Misused++
		return nil, nil
	}
	b.holders--
	if b.holders > 0 {
		return nil, nil
	}
	size := cap(b.Bytes)
	p.stats.Lent--
	p.stats.LentBytes -= size
	if p.Freed != nil {
		p.Freed(b.Bytes)
	}
	if b.adopted {
		home, memory = b.home, b.Bytes
		b.Bytes, b.home = nil, nil
		if !p.closed {
			p.adopters = append(p.adopters, b)
		}
		return home, memory
	}
	if !p.closed && p.stats.IdleBytes+size <= p.most {
		if p.free == nil {
			p.free = map[int][]*Buffer{}
		}
		p.free[size] = append(p.free[size], b)
		p.stats.IdleBytes += size
	}
	return nil, nil
}

// New returns a frame with room for a payload of n bytes, whose content is undefined, held once.
func (p *Pool) New(h Header, n int) Frame {
	b := p.Get(HeaderSize + n)
	return Frame{Header: h, Buffer: b.Bytes, memory: b}
}

// Stats returns the counters.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close lets go of all that waits, and of all that is released later.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.free, p.adopters, p.stats.IdleBytes = true, nil, nil, 0
}
