package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pupil/augment"
	"pupil/worker/student"
)

// Config are a server's bounds.
type Config struct {
	Threads  int           // batches that are computed at the same time
	Batch    int           // images of a batch at most
	Delay    time.Duration // how long an image waits for others to share its batch
	Requests int           // at a time; more are refused with 429
	Images   int           // of a request
	MaxBody  int64         // bytes of a request
	Pixels   int           // of an image
	Timeout  time.Duration // of a request: to be read, and then to be answered
	Drain    time.Duration // for what has begun when the server ends
	Tokens   []string      // bearer tokens, of which a request must have one; empty: anybody may ask
	Version  string        // of the program
	Logger   *slog.Logger  // nil: no logs
}

// DefaultConfig is a server on one thread.
func DefaultConfig() Config {
	return Config{
		Threads: 1, Batch: 16, Delay: 2 * time.Millisecond, Requests: 128, Images: 16, MaxBody: 16 << 20, Pixels: 25_000_000,
		Timeout: 10 * time.Second, Drain: 10 * time.Second,
	}
}

// Validate lists every fault of the fields.
func (c Config) Validate() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Threads >= 1 && c.Threads <= 1024, "threads is %d; it must be in 1..1024", c.Threads)
	fault(c.Batch >= 1 && c.Batch <= student.MaxBatch, "batch is %d; it must be in 1..%d", c.Batch, student.MaxBatch)
	fault(c.Delay >= 0 && c.Delay <= time.Second, "delay is %s; it must be 0s to 1s", c.Delay)
	fault(c.Requests >= 1 && c.Requests <= 1<<16, "requests is %d; it must be in 1..%d", c.Requests, 1<<16)
	fault(c.Images >= 1 && c.Images <= 1<<12, "images is %d; it must be in 1..%d", c.Images, 1<<12)
	fault(c.MaxBody >= 1<<10 && c.MaxBody <= 1<<30, "max body is %d bytes; it must be 1 KiB to 1 GiB", c.MaxBody)
	fault(c.Pixels >= 1 && c.Pixels <= augment.MaxPixels, "pixels is %d; it must be in 1..%d", c.Pixels, augment.MaxPixels)
	fault(c.Timeout > 0 && c.Timeout <= time.Hour, "timeout is %s; it must be above 0s and at most 1h", c.Timeout)
	fault(c.Drain > 0 && c.Drain <= time.Hour, "drain is %s; it must be above 0s and at most 1h", c.Drain)
	for i, t := range c.Tokens {
		fault(len(t) >= minToken, "token %d has %d characters; it must have at least %d", i+1, len(t), minToken)
	}
	return errors.Join(faults...)
}

// minToken is the length of a token that nobody guesses.
const minToken = 16
