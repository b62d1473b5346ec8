package dataset

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync/atomic"

	"pupil/storage"
	"pupil/storage/diskcache"
)

// ErrDamaged says that a dataset does not hold what its manifest promises. Test for it with errors.Is.
var ErrDamaged = errors.New("dataset is damaged")

// DefaultCacheBytes is how much of the images a Dataset keeps in memory.
const DefaultCacheBytes = 256 << 20

// DefaultBlock is how many consecutive images are a segment.
const DefaultBlock = 64

// requestBytes is about how much of a dataset that fits into memory is fetched by one request at most.
const requestBytes = 8 << 20

// maxIndexBytes is how much of the indexes a Dataset keeps in memory.
const maxIndexBytes = 128 << 20

// Sample is one image of a dataset.
type Sample struct {
	Name  string // of the tar entry: CLASS/NAME.png, or NAME.png without a label
	Label int    // an index of Manifest.Classes; -1 for none
	Shard int    // an index of Manifest.Shards
	Index int    // the image's number in the dataset, 0..Count-1
}

// Dataset reads a packed dataset. It is safe for concurrent use.
//
// Images are fetched in segments of consecutive ones, so that who uses a part of the dataset fetches little more than that part.
// When the dataset fits into memory, segments stay there. When it does not, an order of images at random asks for nearly every
// segment at the beginning of an epoch, and would wait until all is there: so an image is fetched with as many neighbours of its
// segment as cost little more (pace). They go to the cache on disk, a file for each segment, and into memory where there is room;
// without that cache each image is fetched by itself. What has been used in an epoch leaves memory before what has not, so that the
// next epoch finds as large a share of the images there as fits. What is wanted at the same time and lies side by side is one
// request. Every image has its hash checked whenever it is read from the bucket or the disk.
type Dataset struct {
	bucket   storage.Bucket
	manifest Manifest
	digest   string
	ends     []int // by shard: the number of images in it and all before it
	block    int   // images of a unit: a segment, or 1
	segment  int   // images of a file in the cache on disk
	pace     pace
	company  company
	disk     *diskcache.Cache // nil: none
	indexes  *cache[int, *listing]
	units    *cache[unit, *content]
	fetched  atomic.Int64
}

// Option changes how a dataset is read.
type Option func(*Dataset)

// CacheBytes sets how many bytes of images stay in memory.
func CacheBytes(n int64) Option { return func(d *Dataset) { d.units.limit = n } }

// Block sets how many consecutive images are a segment: best the Chunk of the Order that they are used in.
func Block(n int) Option { return func(d *Dataset) { d.block = max(n, 1) } }

// Disk sets the cache for what is fetched: for a bucket that is not on this machine.
func Disk(c *diskcache.Cache) Option { return func(d *Dataset) { d.disk = c } }

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
	d := &Dataset{bucket: b, manifest: m, digest: digest(data), ends: m.ShardCounts(), block: DefaultBlock}
	for i := range d.ends[1:] {
		d.ends[i+1] += d.ends[i]
	}
	d.indexes = newCache(maxIndexBytes, d.loadIndex)
	d.units = newCache(DefaultCacheBytes, d.loadUnit)
	for _, o := range options {
		o(d)
	}
	if d.segment = d.block; m.Bytes() > d.units.limit {
		d.block = 1
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

// Fetched returns the bytes of images and indexes that were read from the bucket so far.
func (d *Dataset) Fetched() int64 { return d.fetched.Load() }

// Sample returns an image and its encoded bytes, which the caller must not change: they are shared with the cache. An error
// names the shard and, where there is one, the image; content that is not what was packed gives ErrDamaged.
func (d *Dataset) Sample(ctx context.Context, number int) (Sample, []byte, error) {
	if number < 0 || number >= d.manifest.Count {
		return Sample{}, nil, fmt.Errorf("image %d of a dataset of %d", number, d.manifest.Count)
	}
	shard := sort.SearchInts(d.ends, number+1)
	l, err := d.indexes.get(ctx, shard, false)
	if err != nil {
		return Sample{}, nil, err
	}
	i := number - (d.ends[shard] - len(l.entries))
	e := l.entries[i]
	s := Sample{Name: e.Name, Label: e.Label, Shard: shard, Index: number}
	u := d.unitOf(l, i)
	spent := d.block == 1 && u.block >= 0 // an epoch uses an image once
	c, err := d.units.get(ctx, u, spent)
	if errors.Is(err, ErrDamaged) { // on its way perhaps, or an image that was fetched with this one
		c, err = d.units.get(ctx, u, spent)
	}
	if err != nil {
		return Sample{}, nil, err
	}
	start := e.Offset - c.offset
	end := start + e.Size
	return s, c.data[start:end:end], nil
}

// Describe names a sample for an error message: the image's name and its shard's address.
func (d *Dataset) Describe(s Sample) string {
	return fmt.Sprintf("image %s in %s/%s", s.Name, d.bucket.URL(), d.manifest.Shards[s.Shard].Name)
}

// read returns an object that has the right size (-1: any) and hash.
func (d *Dataset) read(ctx context.Context, key, sum string, size int64) (data []byte, err error) {
	if size < 0 {
		data, err = storage.ReadAll(ctx, d.bucket, key, maxIndex)
	} else {
		data, err = storage.ReadSized(ctx, d.bucket, key, size)
	}
	d.fetched.Add(int64(len(data)))
	if err == nil && digest(data) != sum {
		err = fmt.Errorf("%s/%s has SHA-256 %s, the manifest says %s", d.bucket.URL(), key, digest(data), sum)
	} else if err == nil || !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrSize) {
		return data, err
	}
	return nil, fmt.Errorf("%w: %w; copy this file again from where it is whole, or pack the dataset again",
		ErrDamaged, err)
}
