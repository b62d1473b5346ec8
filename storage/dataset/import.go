package dataset

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// ImportOptions say what of a source is packed, and how.
type ImportOptions struct {
	Classes   []string // names by label; default the labels' numbers
	ShardSize int      // images in a shard; default DefaultShardSize
	PerClass  int      // the first so many images of each class, in the order of the source; 0 takes all
	Skip      int      // images of each class to pass over first: with PerClass it draws sets that do not overlap

	// Broken is called for an image that cannot be packed, with an error that names it. Nil leaves the image out, an
	// error ends the import. Without Broken the first such image ends it.
	Broken func(error) error
}

func (o ImportOptions) validate() error {
	if o.PerClass < 0 || o.Skip < 0 {
		return fmt.Errorf("per class %d, skip %d: want 0 or more", o.PerClass, o.Skip)
	}
	return nil
}

// add packs an image, or asks Broken what to do when it cannot be packed.
func (o ImportOptions) add(ctx context.Context, w *Writer, name string, label int, encoded []byte) error {
	err := w.Add(ctx, name, label, encoded)
	if errors.Is(err, ErrImage) && o.Broken != nil {
		return o.Broken(err)
	}
	return err
}

// chooser picks the images skip..skip+limit-1 of each class.
type chooser struct {
	skip, limit int   // limit 0: no limit
	seen        []int // by label + 1
}

func newChooser(classes int, o ImportOptions) *chooser {
	return &chooser{o.Skip, o.PerClass, make([]int, classes+1)}
}

func (c *chooser) take(label int) bool {
	n := c.seen[label+1]
	c.seen[label+1]++
	return n >= c.skip && (c.limit == 0 || n < c.skip+c.limit)
}

// check reports a class that had too few images.
func (c *chooser) check(classes []string) error {
	if c.limit == 0 {
		return nil
	}
	var errs []error
	for i, n := range c.seen {
		name := "the source"
		switch {
		case i == 0 && len(classes) > 0:
			continue // images without a label, in a source that has labels
		case i > 0:
			name = "class " + strconv.Quote(classes[i-1])
		}
		if n < c.skip+c.limit {
			errs = append(errs, fmt.Errorf("%s has %d images, fewer than the %d that are asked for after %d skipped",
				name, n, c.limit, c.skip))
		}
	}
	return errors.Join(errs...)
}
