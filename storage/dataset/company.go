package dataset

import "sync"

// company remembers which images came along with others, so that none does so twice, and whether they were still there when
// they were wanted. A cache on disk that is too small for a worker's part of the dataset, or cannot be written, loses them: then
// to let more come along would fetch many times what is needed. It is safe for concurrent use.
type company struct {
	mu    sync.Mutex
	came  map[int][]uint64 // by shard: a bit for each image that was fetched
	along int              // images that came along
	lost  int              // of these that were gone when they were wanted
}

// Losses that are not taken as a sign: some, and a share, for what others may have pushed out of a cache that is shared.
const (
	someLosses = 8
	lossShare  = 4096
)

// welcome tells whether images may come along.
func (c *company) welcome() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost <= someLosses+c.along/lossShare
}

// has tells whether an image was fetched before.
func (c *company) has(shard, image int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bit(shard, image)
}

func (c *company) bit(shard, image int) bool {
	bits := c.came[shard]
	return image/64 < len(bits) && bits[image/64]>>(image%64)&1 == 1
}

// fetched notes an image that was fetched, alongside others or because it was wanted. One that is wanted and has come before is
// a loss.
func (c *company) fetched(shard, image int, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !wanted:
		c.along++
	case c.bit(shard, image):
		c.lost++
	}
	if c.came == nil {
		c.came = map[int][]uint64{}
	}
	bits := c.came[shard]
	for len(bits) <= image/64 {
		bits = append(bits, 0)
	}
	bits[image/64] |= 1 << (image % 64)
	c.came[shard] = bits
}

// refused notes that images which came along could not be stored.
func (c *company) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost += someLosses
}
