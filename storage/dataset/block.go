package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pupil/storage"
)

// listing is the index of a shard in memory, checked.
type listing struct {
	shard   int
	entries []entry
	sums    bool // every entry has one
	raw     int64
}

// entryBytes is about what an entry of an index takes in memory, beside its texts.
const entryBytes = 96

func (l *listing) bytes() int64 { return l.raw + int64(len(l.entries))*entryBytes }

// unit is what is kept in memory as one: the images block*Dataset.block and following of a shard, or the whole shard for -1.
type unit struct{ shard, block int }

// content is a unit in memory, checked: the bytes of the tar file from offset.
type content struct {
	number  int // of the shard
	offset  int64
	data    []byte
	entries []entry // of a whole shard
}

func (c *content) bytes() int64 { return int64(len(c.data)) + int64(len(c.entries))*entryBytes }

// loadIndex reads the index of a shard and checks it against the manifest.
func (d *Dataset) loadIndex(ctx context.Context, number int) (*listing, error) {
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
	return &listing{number, entries, entries[0].Sum != "", int64(len(raw))}, nil
}

// load reads a whole shard and its index, and checks both against the manifest.
func (d *Dataset) load(ctx context.Context, number int) (*content, error) {
	l, err := d.loadIndex(ctx, number)
	if err != nil {
		return nil, err
	}
	s := d.manifest.Shards[number]
	data, err := d.read(ctx, s.Name, s.SHA256, s.Size)
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w", number, err)
	}
	return &content{number: number, data: data, entries: l.entries}, nil
}

// fetch reads a range of a shard.
func (d *Dataset) fetch(ctx context.Context, shard int, offset, length int64) (_ []byte, err error) {
	s := d.manifest.Shards[shard]
	asked := time.Now()
	r, err := d.bucket.Get(ctx, s.Name, offset, length)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrSize) {
		return nil, fmt.Errorf("load shard %d: %w: %w; copy this file again from where it is whole, or pack the dataset again",
			shard, ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w", shard, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	answered := time.Now()
	data := make([]byte, length)
	n, err := io.ReadFull(r, data)
	d.fetched.Add(int64(n))
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && length > 0 {
		return nil, fmt.Errorf("load shard %d: %w: %s/%s ends before byte %d; copy this file again from where it is whole, or pack the "+
			"dataset again", shard, ErrDamaged, d.bucket.URL(), s.Name, offset+length)
	}
	if err != nil {
		return nil, fmt.Errorf("load shard %d: read %s/%s: %w", shard, d.bucket.URL(), s.Name, err)
	}
	d.pace.learn(length, answered.Sub(asked), time.Since(answered))
	return data, nil
}

func (d *Dataset) checkImage(shard int, e entry, data []byte) error {
	if digest(data)[:sumDigits] == e.Sum {
		return nil
	}
	return fmt.Errorf("load shard %d: %w: image %s in %s/%s does not have the hash of its index; copy this file again from where it is "+
		"whole, or pack the dataset again", shard, ErrDamaged, e.Name, d.bucket.URL(), d.manifest.Shards[shard].Name)
}
