// Package mem keeps a bucket in memory: for tests, and for runs that leave nothing behind. It holds every promise of
// storage.Bucket but one: its objects end with the process.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pupil/storage"
)

// Bucket is a storage.Bucket in memory. New makes one.
type Bucket struct {
	mu      sync.RWMutex
	objects map[string]object
}

// object is stored once and never changed, so that readers need no lock.
type object struct {
	data     []byte
	modified time.Time
}

var (
	_ storage.Bucket  = (*Bucket)(nil)
	_ storage.Creator = (*Bucket)(nil)
)

// New returns an empty bucket.
func New() *Bucket { return &Bucket{objects: map[string]object{}} }

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	data, err := b.get(ctx, key, offset, length)
	if err != nil {
		return nil, wrap("get", key, err)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *Bucket) get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := check(ctx, storage.ValidateKey(key), storage.CheckRange(offset, length)); err != nil {
		return nil, err
	}
	b.mu.RLock()
	o, ok := b.objects[key]
	b.mu.RUnlock()
	if !ok {
		return nil, storage.ErrNotFound
	}
	if offset > int64(len(o.data)) {
		return nil, storage.Beyond(offset, int64(len(o.data)))
	}
	data := o.data[offset:]
	if length >= 0 && length < int64(len(data)) {
		data = data[:length]
	}
	return data, nil
}

// Put implements storage.Bucket. A key that is a path prefix of another is refused, as a folder would.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	if err := check(ctx, storage.ValidateKey(key)); err != nil {
		return wrap("put", key, err)
	}
	var data bytes.Buffer
	if _, err := storage.CopyBody(ctx, &data, body, size); err != nil {
		return wrap("put", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.store(key, data.Bytes()); err != nil {
		return wrap("put", key, err)
	}
	return nil
}

// store sets an object; the lock is held.
func (b *Bucket) store(key string, data []byte) error {
	for other := range b.objects {
		if strings.HasPrefix(other, key+"/") || strings.HasPrefix(key, other+"/") {
			return fmt.Errorf("%q exists, and no key may be a path prefix of another", other)
		}
	}
	b.objects[key] = object{data, time.Now()}
	return nil
}

// Create implements storage.Creator.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, storage.ValidateKey(key)); err != nil {
		return wrap("create", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if have, ok := b.objects[key]; ok {
		if bytes.Equal(have.data, data) {
			return nil
		}
		return wrap("create", key, storage.ErrExists)
	}
	if err := b.store(key, bytes.Clone(data)); err != nil {
		return wrap("create", key, err)
	}
	return nil
}

// List implements storage.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	if err := check(ctx, storage.ValidatePrefix(prefix)); err != nil {
		return nil, wrap("list", prefix, err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	var out []storage.Object
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if strings.HasPrefix(key, prefix) {
			o := b.objects[key]
			out = append(out, storage.Object{Key: key, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	return out, nil
}

// Delete implements storage.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := check(ctx, storage.ValidateKey(key)); err != nil {
		return wrap("delete", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}

// URL implements storage.Bucket.
func (b *Bucket) URL() string { return "mem:" }

// check returns the context's error or the first of errs.
func check(ctx context.Context, errs ...error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func wrap(operation, key string, err error) error {
	return fmt.Errorf("%s mem:/%s: %w", operation, key, err)
}
