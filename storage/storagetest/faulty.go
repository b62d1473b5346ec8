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

// ErrInjected is the error of every operation that a Faulty lets fail.
var ErrInjected = errors.New("injected fault")

// Fault says what happens to the first Put or Delete that fails.
type Fault int

const (
	// Lost is a crash before the operation: nothing is done.
	Lost Fault = iota
	// Late is a crash after the operation, before its caller hears of it.
	Late
	// Torn leaves the first half of a Put's bytes under the key. The contract of Bucket excludes it; it stands for disks
	// and stores that break their promise. A Delete is lost.
	Torn
)

// String returns the fault's name.
func (f Fault) String() string { return [...]string{"lost", "late", "torn"}[f] }

// Faults lists all faults, for a test that tries each.
func Faults() []Fault { return []Fault{Lost, Late, Torn} }

// Faulty passes operations on to a bucket until its Put or Delete number At, counted from 0, and fails from there on:
// that one as Fault says, then every operation, reads too. A negative At never fails. It is safe for concurrent use.
type Faulty struct {
	storage.Bucket
	At    int
	Fault Fault

	mu  sync.Mutex
	log []string
}

var (
	_ storage.Bucket  = (*Faulty)(nil)
	_ storage.Creator = (*Faulty)(nil)
)

// Log returns the Puts, Creates and Deletes so far, the failed ones too, as "put KEY", "create KEY" and "delete KEY".
func (f *Faulty) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

// change counts a Put or Delete, and tells whether it comes before the fault (-1), is the one (0) or comes after (1).
func (f *Faulty) change(operation, key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.log)
	f.log = append(f.log, operation+" "+key)
	switch {
	case f.At < 0 || n < f.At:
		return -1
	case n == f.At:
		return 0
	}
	return 1
}

// dead tells whether the fault has happened.
func (f *Faulty) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.At >= 0 && len(f.log) > f.At
}

// Put implements storage.Bucket.
func (f *Faulty) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	when := f.change("put", key)
	if when < 0 {
		return f.Bucket.Put(ctx, key, body, size)
	}
	err := fmt.Errorf("put %s/%s: %w", f.URL(), key, ErrInjected)
	if when > 0 || f.Fault == Lost {
		return err
	}
	data, readErr := io.ReadAll(body)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if f.Fault == Torn {
		data = data[:len(data)/2]
	}
	return errors.Join(err, f.Bucket.Put(ctx, key, bytes.NewReader(data), int64(len(data))))
}

// Create implements storage.Creator. It counts as a Put.
func (f *Faulty) Create(ctx context.Context, key string, data []byte) error {
	when := f.change("create", key)
	if when < 0 {
		return storage.Create(ctx, f.Bucket, key, data)
	}
	err := fmt.Errorf("create %s/%s: %w", f.URL(), key, ErrInjected)
	switch {
	case when > 0 || f.Fault == Lost:
		return err
	case f.Fault == Torn:
		data = data[:len(data)/2]
	}
	return errors.Join(err, storage.Create(ctx, f.Bucket, key, data))
}

// Delete implements storage.Bucket.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	when := f.change("delete", key)
	if when < 0 {
		return f.Bucket.Delete(ctx, key)
	}
	err := fmt.Errorf("delete %s/%s: %w", f.URL(), key, ErrInjected)
	if when == 0 && f.Fault == Late {
		return errors.Join(err, f.Bucket.Delete(ctx, key))
	}
	return err
}

// Get implements storage.Bucket.
func (f *Faulty) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if f.dead() {
		return nil, fmt.Errorf("get %s/%s: %w", f.URL(), key, ErrInjected)
	}
	return f.Bucket.Get(ctx, key, offset, length)
}

// List implements storage.Bucket.
func (f *Faulty) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	if f.dead() {
		return nil, fmt.Errorf("list %s/%s: %w", f.URL(), prefix, ErrInjected)
	}
	return f.Bucket.List(ctx, prefix)
}
