package feed

import (
	"errors"
	"fmt"
	"runtime"

	"pupil/augment"
	"pupil/storage/dataset"
)

// DefaultPrefetch is how many batches a lane is ahead when Config leaves it open.
const DefaultPrefetch = 2

// DefaultAhead is how many batches ahead a lane's images are fetched when Config leaves it open.
const DefaultAhead = 8

// Config is what the batches of all lanes have in common.
type Config struct {
	Data     *dataset.Dataset
	Order    dataset.Order
	Views    *augment.Views
	Channels int    // of the decoded images, 1 or 3; 0: the student's
	Seed     uint64 // of the job

	TeacherCache TeacherCache // of the teacher's outputs, whose views are then not made; nil: none

	SkipBroken bool // an image that cannot be decoded is replaced by another one; else it is an error
	Prefetch   int  // batches that a lane is ahead; 0: DefaultPrefetch
	Ahead      int  // batches ahead of the one that is made whose images are fetched; 0: DefaultAhead
	Workers    int  // goroutines that decode, for all lanes together; 0: as many as Go uses threads

	places chan struct{} // bounds the images that are made at a time by several feeds; nil: no bound
}

func (c Config) withDefaults() Config {
	if c.Channels == 0 && c.Views != nil {
		c.Channels = c.Views.Student().Config().Channels
	}
	if c.Prefetch == 0 {
		c.Prefetch = DefaultPrefetch
	}
	if c.Ahead == 0 {
		c.Ahead = DefaultAhead
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return c
}

// validate returns one error that lists every fault.
func (c Config) validate(lanes []int, firstStep, lastStep int) error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Data != nil, "there is no dataset")
	fault(c.Views != nil, "there are no views")
	fault(c.Channels == 1 || c.Channels == 3, "channels is %d; it must be 1 or 3", c.Channels)
	fault(c.Prefetch >= 1, "prefetch is %d; it must be 1 batch or more", c.Prefetch)
	fault(c.Ahead >= 1, "ahead is %d; it must be 1 batch or more", c.Ahead)
	fault(c.Workers >= 1, "workers is %d; it must be 1 goroutine or more", c.Workers)
	if err := c.Order.Validate(); err != nil {
		faults = append(faults, err)
	}
	if c.Data != nil {
		fault(c.Order.Count == c.Data.Count(), "the order is one of %d images, the dataset has %d",
			c.Order.Count, c.Data.Count())
	}
	seen := map[int]bool{}
	for _, l := range lanes {
		fault(l >= 0 && l < c.Order.Lanes, "lane %d is not one of the order's %d", l, c.Order.Lanes)
		fault(!seen[l], "lane %d is given twice", l)
		seen[l] = true
	}
	fault(firstStep >= 0 && firstStep <= lastStep, "steps %d to %d are not a range", firstStep, lastStep)
	return errors.Join(faults...)
}
