package dataset

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"pupil/storage"
)

// ErrDamaged says that a dataset does not hold what its manifest promises. Test for it with errors.Is.
var ErrDamaged = errors.New("dataset is damaged")

// DefaultCacheBytes is how much of the shards a Dataset keeps in memory.
const DefaultCacheBytes = 256 << 20

// Sample is one image of a dataset.
type Sample struct {
	Name  string // of the tar entry: CLASS/NAME.png, or NAME.png without a label
	Label int    // an index of Manifest.Classes; -1 for none
	Shard int    // an index of Manifest.Shards
	Index int    // the image's number in the dataset, 0..Count-1
}

// Dataset reads a packed dataset. It is safe for concurrent use.
type Dataset struct {
	bucket   storage.Bucket
	manifest Manifest
	digest   string
	ends     []int // by shard: the number of images in it and all before it
	cache    *cache
}

// Option changes how a dataset is read.
type Option func(*Dataset)

// CacheBytes sets how much of the shards, in bytes, stays in memory; 0 keeps the shard that was used last alone.
func CacheBytes(n int64) Option {
	return func(d *Dataset) { d.cache.limit = n }
}

// Open reads and checks the manifest of a packed dataset. Shards are read when they are first used.
func Open(ctx context.Context, b storage.Bucket, options ...Option) (*Dataset, error) {
	data, err := storage.ReadAll(ctx, b, ManifestKey, maxManifest)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("open dataset: no packed dataset in %s; pack images into it first, and let it finish: "+
			"the manifest is written last: %w", b.URL(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("open dataset: %w", err)
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, fmt.Errorf("open dataset: %w: %s/%s: %w; pack it again, or copy it again from where it is whole",
			ErrDamaged, b.URL(), ManifestKey, err)
	}
	d := &Dataset{bucket: b, manifest: m, digest: digest(data), ends: m.ShardCounts()}
	for i := range d.ends[1:] {
		d.ends[i+1] += d.ends[i]
	}
	d.cache = newCache(DefaultCacheBytes, d.load)
	for _, o := range options {
		o(d)
	}
	return d, nil
}

// Manifest returns a copy of the manifest.
func (d *Dataset) Manifest() Manifest { return d.manifest.clone() }

// Count returns the number of images.
func (d *Dataset) Count() int { return d.manifest.Count }

// Digest returns the SHA-256 of the manifest's bytes, hexadecimal. It stands for the whole content, since the manifest
// holds the hash of every shard.
func (d *Dataset) Digest() string { return d.digest }

// Sample returns an image and its encoded bytes, which the caller must not change: they are shared with the cache. The
// first use of a shard reads it whole and checks it. An error names the shard and, where there is one, the image;
// content that is not what was packed gives ErrDamaged.
func (d *Dataset) Sample(ctx context.Context, number int) (Sample, []byte, error) {
	if number < 0 || number >= d.manifest.Count {
		return Sample{}, nil, fmt.Errorf("image %d of a dataset of %d", number, d.manifest.Count)
	}
	shard := sort.SearchInts(d.ends, number+1)
	c, err := d.cache.get(ctx, shard)
	if err != nil {
		return Sample{}, nil, err
	}
	e := c.entries[number-(d.ends[shard]-len(c.entries))]
	end := e.Offset + e.Size
	return Sample{Name: e.Name, Label: e.Label, Shard: shard, Index: number}, c.data[e.Offset:end:end], nil
}

// Describe names a sample for an error message: the image's name and its shard's address.
func (d *Dataset) Describe(s Sample) string {
	return fmt.Sprintf("image %s in %s/%s", s.Name, d.bucket.URL(), d.manifest.Shards[s.Shard].Name)
}

// content is a shard in memory, checked.
type content struct {
	number  int
	data    []byte
	entries []entry
}

// entryBytes is about what an entry of the index takes in memory.
const entryBytes = 96

func (c *content) bytes() int64 { return int64(len(c.data)) + int64(len(c.entries))*entryBytes }

// load reads a shard and its index, and checks both against the manifest.
func (d *Dataset) load(ctx context.Context, number int) (*content, error) {
	s := d.manifest.Shards[number]
	raw, err := d.read(ctx, s.Index(), s.IndexSHA256, -1)
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w", number, err)
	}
	entries, err := decodeIndex(raw, s, len(d.manifest.Classes))
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w: %s/%s: %w; pack the dataset again",
			number, ErrDamaged, d.bucket.URL(), s.Index(), err)
	}
	data, err := d.read(ctx, s.Name, s.SHA256, s.Size)
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w", number, err)
	}
	return &content{number, data, entries}, nil
}

// read returns an object that has the right size (-1: any) and hash.
func (d *Dataset) read(ctx context.Context, key, sum string, size int64) (data []byte, err error) {
	if size < 0 {
		data, err = storage.ReadAll(ctx, d.bucket, key, maxIndex)
	} else {
		data, err = storage.ReadSized(ctx, d.bucket, key, size)
	}
	if err == nil && digest(data) != sum {
		err = fmt.Errorf("%s/%s has SHA-256 %s, the manifest says %s", d.bucket.URL(), key, digest(data), sum)
	} else if err == nil || !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrSize) {
		return data, err
	}
	return nil, fmt.Errorf("%w: %w; copy this file again from where it is whole, or pack the dataset again",
		ErrDamaged, err)
}
