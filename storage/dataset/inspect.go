package dataset

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Summary is what Inspect finds in a dataset.
type Summary struct {
	Count      int
	Shards     int
	Bytes      int64 // of the shards
	Images     int64 // bytes of the encoded images alone
	Labels     []int // images by label, as many as there are classes
	Unlabelled int   // images without a label
	Damaged    []error
}

// Inspect reads the whole dataset once and checks every shard: its hash, its index, and that the tar file holds the
// images that the index names. Shards that fail are told in Damaged and not counted; an error is one of the bucket.
func (d *Dataset) Inspect(ctx context.Context) (*Summary, error) {
	s := &Summary{Labels: make([]int, len(d.manifest.Classes))}
	for i, shard := range d.manifest.Shards {
		c, err := d.load(ctx, i)
		if err == nil {
			err = d.checkTar(c)
		}
		if errors.Is(err, ErrDamaged) {
			s.Damaged = append(s.Damaged, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		s.Shards++
		s.Count += len(c.entries)
		s.Bytes += shard.Size
		for _, e := range c.entries {
			s.Images += e.Size
			if e.Label < 0 {
				s.Unlabelled++
			} else {
				s.Labels[e.Label]++
			}
		}
	}
	return s, nil
}

// checkTar compares a shard's tar file with its index.
func (d *Dataset) checkTar(c *content) error {
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("check shard %d: %w: %s/%s: %w", c.number, ErrDamaged,
			d.bucket.URL(), d.manifest.Shards[c.number].Name, fmt.Errorf(format, args...))
	}
	in := bytes.NewReader(c.data)
	archive := tar.NewReader(in)
	for _, e := range c.entries {
		h, err := archive.Next()
		if err != nil {
			return damaged("image %s: %w", e.Name, err)
		}
		if offset := int64(len(c.data) - in.Len()); h.Name != e.Name || h.Size != e.Size || offset != e.Offset {
			return damaged("the tar file has %s, %d bytes at %d, where the index has %s, %d bytes at %d",
				h.Name, h.Size, offset, e.Name, e.Size, e.Offset)
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return damaged("the tar file goes on after the last image of the index")
	}
	return nil
}
