package allreduce

import (
	"errors"
	"fmt"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

// MaxSize is the largest number of ranks of a ring.
const MaxSize = frame.MaxRanks

// HeaderSize is the number of bytes that every message has beside its payload.
const HeaderSize = frame.HeaderSize

// Defaults of Config.
const (
	DefaultDeadline   = 10 * time.Second
	DefaultChunkBytes = 512 << 10
)

// The default of Config.Window keeps what waits at a rank near defaultInFlight, within these bounds.
const (
	defaultInFlight = 32 << 20
	leastWindow     = 2
	mostWindow      = 8
	manyRanks       = 64 // the default of Config.ChunkBytes falls beyond
)

// Bounds of Config.
const (
	MinDeadline = 10 * time.Millisecond
	MaxDeadline = time.Hour
)

// Config says which place in which ring a Ring has. All but Rank must be the same on every rank.
type Config struct {
	Job        string // messages of other jobs are refused
	Generation uint64 // messages of other generations are refused
	Rank       int    // 0 to Size-1
	Size       int    // ranks, 1 to MaxSize

	// Deadline ends a call that has seen no progress for so long with ErrDeadline, on every rank. So it must be longer
	// than a rank may be behind the others, which includes what it computes between two calls. All other waiting
	// derives from it: what does not come is asked for after Deadline/64 (at most 100 ms), then after twice as long, up
	// to Deadline/32; on a network that is too slow for that, up to Deadline/16. 0: DefaultDeadline.
	Deadline time.Duration

	// ChunkBytes is the largest payload of a message, a multiple of 8. 512 KB to 1 MB are fast over NATS.
	// 0: DefaultChunkBytes, and for more than 64 ranks less, so that what waits at a rank does not grow any more.
	ChunkBytes int

	// Window is how many chunks of its own a rank has under way, over all its buckets; each bucket may always have one.
	// So at most 2*Size*(Window+buckets)*(ChunkBytes+HeaderSize) bytes wait at a rank. 0: so many that without the buckets
	// 32 MB can wait, 2 to 8.
	Window int

	// Wide leaves all sums of int32 in 4 bytes an element, and tells the other ranks so, as builds that do not know 24 bits. It may
	// differ from rank to rank, and changes no sum: it is there to be compared with.
	Wide bool
}

// WithDefaults is c with the defaults in place of what is 0.
func (c Config) WithDefaults() Config {
	if c.Deadline == 0 {
		c.Deadline = DefaultDeadline
	}
	if c.ChunkBytes == 0 {
		c.ChunkBytes = DefaultChunkBytes
		if c.Size > manyRanks {
			c.ChunkBytes = DefaultChunkBytes * manyRanks / c.Size &^ 7
		}
	}
	if c.Window == 0 {
		waiting := 2 * max(c.Size, 1) * max(c.ChunkBytes, 1)
		c.Window = min(max(defaultInFlight/waiting, leastWindow), mostWindow)
	}
	return c
}

// Validate names every field that is out of bounds. Zeros that have a default are right.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Size >= 1 && c.Size <= MaxSize, "size is %d; a ring has 1 to %d ranks", c.Size, MaxSize)
	check(c.Rank >= 0 && c.Rank < c.Size, "rank is %d; of %d ranks it must be 0 to %d", c.Rank, c.Size, c.Size-1)
	check(c.Deadline >= MinDeadline && c.Deadline <= MaxDeadline, "deadline is %s; it must be %s to %s",
		c.Deadline, MinDeadline, MaxDeadline)
	check(c.ChunkBytes >= 8 && c.ChunkBytes%8 == 0 && c.ChunkBytes <= 1<<30,
		"chunk bytes is %d; it must be a multiple of 8, up to 1 GiB", c.ChunkBytes)
	check(c.Window >= 1 && c.Window <= 1<<16, "window is %d; it must be 1 to %d", c.Window, 1<<16)
	return errors.Join(errs...)
}

// InFlight is the most bytes that can wait at one rank's end of a link while one bucket is reduced, for a valid Config.
// Every further bucket at the same time can add 2*Size*(ChunkBytes+HeaderSize).
func (c Config) InFlight() int {
	c = c.WithDefaults()
	return 2 * c.Size * c.Window * (c.ChunkBytes + HeaderSize)
}

// fits tells whether a link can carry what the configuration makes.
func (c Config) fits(l Limits) error {
	var errs []error
	if need := max(c.ChunkBytes, machine.MaxControl) + HeaderSize; need > l.Message {
		errs = append(errs, fmt.Errorf("chunks of %d bytes need messages of %d; the link takes %d (NATS: max_payload): "+
			"lower the chunk bytes or raise that limit", c.ChunkBytes, need, l.Message))
	}
	if need := c.InFlight(); need > l.Pending {
		errs = append(errs, fmt.Errorf("%d ranks with %d chunks of %d bytes under way can put %d bytes at a rank; "+
			"the link holds %d: lower the window or the chunk bytes, or raise the pending limit",
			c.Size, c.Window, c.ChunkBytes, need, l.Pending))
	}
	return errors.Join(errs...)
}
