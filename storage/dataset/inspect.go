package dataset

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"sync"

	"pupil/augment"
)

// InspectOptions say how closely Inspect looks.
type InspectOptions struct {
	Decode   bool                  // decode every image; else only the sizes in their headers are read
	Workers  int                   // shards that are in memory at the same time; default 2
	Progress func(done, total int) // images; called by one goroutine at a time; may be nil
}

// Summary is what Inspect finds in a dataset.
type Summary struct {
	Count      int            `json:"count"`
	Shards     int            `json:"shards"`
	Bytes      int64          `json:"bytes"`       // of the shards
	Images     int64          `json:"image_bytes"` // of the encoded images alone
	Labels     []int          `json:"labels"`      // images by label, as many as there are classes
	Unlabelled int            `json:"unlabelled"`  // images without a label
	Formats    map[string]int `json:"formats"`     // images by format, as PNG
	Sides      []Side         `json:"sides"`       // a histogram of the longer side, without empty bars
	Damaged    []error        `json:"-"`           // shards that are not what was packed, by number; their images are not counted
	Broken     []error        `json:"-"`           // images that cannot be decoded, in order
}

// Side counts the images whose longer side is over the next smaller power of two, up to Pixels.
type Side struct {
	Pixels int `json:"pixels"` // a power of two
	Count  int `json:"count"`
}

// finding is what one shard tells.
type finding struct {
	shard   int
	damaged error
	entries []entry
	formats map[string]int
	sides   [64]int // by bits.Len of the longer side - 1
	broken  []error
	err     error // of the bucket
}

// Inspect reads the whole dataset once and checks every shard: its hash, its index, that the tar file holds the images that
// the index names, and every image. An error is one of the bucket; what is wrong with the data is in the Summary.
func (d *Dataset) Inspect(ctx context.Context, o InspectOptions) (*Summary, error) {
	workers := max(o.Workers, 1)
	if o.Workers == 0 {
		workers = min(2, runtime.NumCPU())
	}
	ctx, cancel := context.WithCancel(ctx)
	numbers, found := make(chan int), make([]*finding, len(d.manifest.Shards))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer close(numbers)
		for i := range d.manifest.Shards {
			select {
			case numbers <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	results := make(chan *finding)
	for range workers {
		wg.Go(func() {
			for i := range numbers {
				select {
				case results <- d.look(ctx, i, o.Decode):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	done := 0
	for range d.manifest.Shards {
		select {
		case f := <-results:
			if f.err != nil {
				return nil, f.err
			}
			found[f.shard] = f
			if done += d.manifest.Shards[f.shard].Count; o.Progress != nil {
				o.Progress(done, d.manifest.Count)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return d.summary(found), nil
}

// look reads and checks one shard.
func (d *Dataset) look(ctx context.Context, number int, decode bool) *finding {
	f := &finding{shard: number, formats: map[string]int{}}
	c, err := d.load(ctx, number)
	if err == nil {
		err = d.checkTar(c)
	}
	if errors.Is(err, ErrDamaged) {
		f.damaged = err
		return f
	}
	if f.err = err; err != nil {
		return f
	}
	f.entries = c.entries
	for _, e := range c.entries {
		data := c.data[e.Offset : e.Offset+e.Size]
		format, width, height, err := augment.Describe(data)
		if err == nil {
			f.formats[format]++
			f.sides[bits.Len(uint(max(width, height)-1))]++
			if decode {
				_, err = augment.Decode(data, 3)
			}
		}
		if err != nil {
			f.broken = append(f.broken, fmt.Errorf("%s: %w", d.Describe(Sample{Name: e.Name, Shard: number}), err))
		}
	}
	return f
}

// summary adds up what the shards tell, in their order.
func (d *Dataset) summary(found []*finding) *Summary {
	s := &Summary{Labels: make([]int, len(d.manifest.Classes)), Formats: map[string]int{}}
	var sides [64]int
	for i, f := range found {
		if f.damaged != nil {
			s.Damaged = append(s.Damaged, f.damaged)
			continue
		}
		s.Shards++
		s.Count += len(f.entries)
		s.Bytes += d.manifest.Shards[i].Size
		s.Broken = append(s.Broken, f.broken...)
		for name, n := range f.formats {
			s.Formats[name] += n
		}
		for i, n := range f.sides {
			sides[i] += n
		}
		for _, e := range f.entries {
			s.Images += e.Size
			if e.Label < 0 {
				s.Unlabelled++
			} else {
				s.Labels[e.Label]++
			}
		}
	}
	for i, n := range sides {
		if n > 0 {
			s.Sides = append(s.Sides, Side{1 << i, n})
		}
	}
	return s
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
