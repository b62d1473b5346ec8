package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"pupil/storage"
)

// Trouble is what goes wrong with one operation of a Flaky.
type Trouble int

// The kinds of trouble.
const (
	None     Trouble = iota
	Fails            // nothing is done, an error comes back
	Unheard          // it is done, but its caller gets an error: a lost response
	TornPut          // half of a Put's bytes are stored, an error comes back
	Corrupts         // of a Get: one bit of the bytes is another
	CutOff           // of a Get: the reader fails after half of the bytes
	Hangs            // nothing is done until the context ends
)

// Flaky passes operations on to a bucket, and asks before each what goes wrong with it. Unlike a Faulty it stays alive. It is
// safe for concurrent use.
type Flaky struct {
	storage.Bucket
	Next func(operation, key string) Trouble // operation is get, put, create, list or delete; called by one goroutine at a time

	mu sync.Mutex
}

var (
	_ storage.Bucket  = (*Flaky)(nil)
	_ storage.Creator = (*Flaky)(nil)
)

// do runs an operation that has no result under its trouble.
func (f *Flaky) do(ctx context.Context, operation, key string, run func(half bool) error) error {
	trouble := f.next(operation, key)
	err := fmt.Errorf("%s %s/%s: %w", operation, f.URL(), key, ErrInjected)
	switch trouble {
	case Fails:
		return err
	case Unheard:
		return errors.Join(err, run(false))
	case TornPut:
		return errors.Join(err, run(true))
	case Hangs:
		<-ctx.Done()
		return fmt.Errorf("%s %s/%s: %w", operation, f.URL(), key, ctx.Err())
	}
	return run(false)
}

func (f *Flaky) next(operation, key string) Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Next(operation, key)
}

// Put implements storage.Bucket.
func (f *Flaky) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return f.do(ctx, "put", key, func(half bool) error {
		if !half {
			return f.Bucket.Put(ctx, key, body, size)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		return storage.WriteAll(ctx, f.Bucket, key, data[:len(data)/2])
	})
}

// Create implements storage.Creator.
func (f *Flaky) Create(ctx context.Context, key string, data []byte) error {
	return f.do(ctx, "create", key, func(half bool) error {
		if half {
			data = data[:len(data)/2]
		}
		return storage.Create(ctx, f.Bucket, key, data)
	})
}

// Delete implements storage.Bucket.
func (f *Flaky) Delete(ctx context.Context, key string) error {
	return f.do(ctx, "delete", key, func(bool) error { return f.Bucket.Delete(ctx, key) })
}

// List implements storage.Bucket.
func (f *Flaky) List(ctx context.Context, prefix string) (objects []storage.Object, err error) {
	err = f.do(ctx, "list", prefix, func(bool) error {
		objects, err = f.Bucket.List(ctx, prefix)
		return err
	})
	return objects, err
}

// Get implements storage.Bucket.
func (f *Flaky) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	trouble := f.next("get", key)
	switch trouble {
	case None:
		return f.Bucket.Get(ctx, key, offset, length)
	case Hangs:
		<-ctx.Done()
		return nil, fmt.Errorf("get %s/%s: %w", f.URL(), key, ctx.Err())
	case Corrupts, CutOff:
	default:
		return nil, fmt.Errorf("get %s/%s: %w", f.URL(), key, ErrInjected)
	}
	r, err := f.Bucket.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if trouble == CutOff {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]), broken{})), nil
	}
	data = bytes.Clone(data)
	if len(data) > 0 {
		data[len(data)/2] ^= 4
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// broken is a reader whose connection is gone.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("read: %w", ErrInjected) }
