// Package teachercache keeps what a teacher makes of a lane's batches on disk, for other runs that show it the same views:
// trials of a loss, of a student or of an optimiser. What a teacher sees is a function of the job, the data and the code
// (package feed), so the outputs that come back are the bits that the teacher would compute again.
//
// An entry is one lane's outputs of one step. Its name has the digest of an Identity, and its content ends with a checksum:
// an entry that is damaged, cut off or of something else is dropped, and computed again. The folder has a limit, and is safe
// for several workers (package diskcache).
package teachercache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"

	"pupil/augment"
	"pupil/storage/diskcache"
	"pupil/worker/feed"
)

// Identity is everything that a teacher's outputs depend on, but for step and lane.
type Identity struct {
	Teacher    string         // digest of its weights and config
	Direct     bool           // nn.FreezeConfig
	Dataset    string         // digest
	Broken     string         // what is done with an image that cannot be decoded
	Channels   int            // of the decoded images
	Background [3]uint8       // that they are decoded over
	View       augment.Config // the teacher's
	Seed       uint64         // of the job
	Batch      int            // images of a step, over all lanes
	Lanes      int
	Chunk      int // dataset.Order
	Kernel     string
	Executable string // digest of the program that computes them
}

// Shape is that of an entry.
type Shape struct {
	Images         int // of a lane's batch
	Pooled, Logits int // values of an image; Logits may be 0
}

// Cache is the part of a folder that has one Identity. It implements feed.TeacherCache.
type Cache struct {
	disk   *diskcache.Cache
	digest [sha256.Size]byte
	shape  Shape

	hits, misses atomic.Int64
}

var _ feed.TeacherCache = (*Cache)(nil)

// New returns the entries of an identity in a folder.
func New(disk *diskcache.Cache, id Identity, shape Shape) (*Cache, error) {
	text, err := json.Marshal(id) // its numbers are exact
	if err != nil {
		return nil, fmt.Errorf("teacher cache: %w", err)
	}
	return &Cache{disk: disk, digest: sha256.Sum256(text), shape: shape}, nil
}

// Counts are the entries that were found, and those that were not, so far.
func (c *Cache) Counts() (hits, misses int64) { return c.hits.Load(), c.misses.Load() }

func (c *Cache) name(step, lane int) string {
	return fmt.Sprintf("teacher-%s-%d-%d", hex.EncodeToString(c.digest[:16]), step, lane)
}

// Load implements feed.TeacherCache.
func (c *Cache) Load(step, lane int) (feed.Outputs, bool) {
	n := c.shape.Images * (c.shape.Pooled + c.shape.Logits)
	name := c.name(step, lane)
	data, ok := c.disk.Read(name, 0, int64(4*n+sha256.Size))
	if ok && !bytes.Equal(data[4*n:], c.checksum(step, lane, data[:4*n])) {
		ok = false
		c.disk.Drop(name)
	}
	if !ok {
		c.misses.Add(1)
		return feed.Outputs{}, false
	}
	c.hits.Add(1)
	values := make([]float32, n)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	pooled := c.shape.Images * c.shape.Pooled
	return feed.Outputs{Pooled: values[:pooled:pooled], Logits: values[pooled:]}, true
}

// Store implements feed.TeacherCache.
func (c *Cache) Store(ctx context.Context, step, lane int, o feed.Outputs) {
	if len(o.Pooled) != c.shape.Images*c.shape.Pooled || len(o.Logits) != c.shape.Images*c.shape.Logits {
		return
	}
	data := make([]byte, 0, 4*(len(o.Pooled)+len(o.Logits))+sha256.Size)
	for _, values := range [][]float32{o.Pooled, o.Logits} {
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	c.disk.Add(ctx, c.name(step, lane), append(data, c.checksum(step, lane, data)...))
}

// checksum is that of an entry: of what it belongs to, and of its values.
func (c *Cache) checksum(step, lane int, values []byte) []byte {
	h := sha256.New()
	h.Write(c.digest[:])
	h.Write(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(step)), uint64(lane)))
	h.Write(values)
	return h.Sum(nil)
}
