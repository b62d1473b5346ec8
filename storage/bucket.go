package storage

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound says that a key does not exist. Test for it with errors.Is.
var ErrNotFound = errors.New("object not found")

// Object is what a listing tells of an object.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Bucket keeps objects under keys. A key is a slash-separated relative path ("runs/a/manifest.json") without empty,
// "." or ".." elements; no key may be a path prefix of another ("a" and "a/b"). All methods may be called from several
// goroutines. Errors name the operation, the bucket's URL and the key.
type Bucket interface {
	// Get opens an object from offset; length bytes of it, or all that follow when length is -1. An object that ends
	// before offset+length gives what there is; one that ends before offset gives ErrSize. The caller closes the reader,
	// which keeps giving the object that was there when Get returned. A missing key gives ErrNotFound.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Put stores an object whole or not at all: a reader sees the old object or the new one, never a part.
	// size is the number of bytes that body holds, or -1 when it is not known; a body of another size is an error, and
	// then nothing is stored. When Put has returned nil, the object outlives a crash of the machine, where the kind of
	// bucket can promise that at all.
	Put(ctx context.Context, key string, body io.Reader, size int64) error
	// List returns the objects whose keys begin with prefix, sorted by key. The prefix is text, not a folder: "a" finds
	// "a/b" and "ab". It sees every Put and Delete that returned before.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes an object. To delete a missing key is no error.
	Delete(ctx context.Context, key string) error
	// URL names the bucket for people, without credentials.
	URL() string
}
