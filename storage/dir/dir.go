// Package dir keeps a bucket in a folder: the key "runs/a/manifest.json" is the file runs/a/manifest.json.
//
// A Put writes a temporary file beside the target, flushes it to the disk, renames it over the target and flushes the
// folder. So a reader sees the old object or the new one, and when Put has returned nil the object outlives a power
// cut. Several processes may use the same folder at the same time.
//
// A process that dies in the middle of a Put leaves its temporary file behind. Such files are no objects: List does not
// show them, no key can name them, and List removes those that nobody has written to for an hour.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pupil/storage"
)

// Bucket is a storage.Bucket in a folder. New makes one.
type Bucket struct {
	root string // absolute
}

var (
	_ storage.Bucket  = (*Bucket)(nil)
	_ storage.Creator = (*Bucket)(nil)
)

// New returns the bucket of a folder. The folder need not exist: the first Put makes it. A path that is something else
// than a folder is an error. Symbolic links are followed; List does not enter folders behind a link.
func New(path string) (*Bucket, error) {
	if path == "" {
		return nil, errors.New("open folder: the path is empty")
	}
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", path, err)
	}
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open folder: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("open folder %s: it is not a folder", root)
	}
	return &Bucket{root}, nil
}

// URL implements storage.Bucket.
func (b *Bucket) URL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(b.root)}).String()
}

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := b.open(ctx, key, offset, length)
	if err != nil {
		return nil, b.wrap("get", key, err)
	}
	return r, nil
}

func (b *Bucket) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	path, err := b.path(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := storage.CheckRange(offset, length); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		if missing(err) {
			return nil, storage.ErrNotFound
		}
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = storage.ErrNotFound
	case !info.Mode().IsRegular():
		err = fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	case offset > info.Size():
		err = storage.Beyond(offset, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if length < 0 {
		length = info.Size() - offset
	}
	return &section{io.NewSectionReader(f, offset, length), f}, nil
}

// section reads a range of an open file. The file stays the object of the time of Get: a Put replaces, never writes.
type section struct {
	io.Reader
	io.Closer
}

// Delete implements storage.Bucket. It removes the folders that it leaves empty, up to the bucket's.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	path, err := b.path(ctx, key)
	if err != nil {
		return b.wrap("delete", key, err)
	}
	info, err := os.Lstat(path)
	if missing(err) || err == nil && info.IsDir() {
		return nil
	}
	if err := os.Remove(path); err != nil && !missing(err) {
		return b.wrap("delete", key, err)
	}
	folder := filepath.Dir(path)
	if err := syncFolder(folder); err != nil && !missing(err) {
		return b.wrap("delete", key, err)
	}
	for folder != b.root && os.Remove(folder) == nil { // os.Remove keeps a folder that is not empty
		folder = filepath.Dir(folder)
	}
	return nil
}

// path returns the file of a key.
func (b *Bucket) path(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := storage.ValidateKey(key); err != nil {
		return "", err
	}
	for element := range strings.SplitSeq(key, "/") {
		if temporary(element) {
			return "", fmt.Errorf("%w %q: names that begin with %q are reserved", storage.ErrKey, key, temporaryPrefix)
		}
	}
	return filepath.Join(b.root, filepath.FromSlash(key)), nil
}

// missing tells whether a file does not exist: also when a part of its path is a file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func (b *Bucket) wrap(operation, key string, err error) error {
	return fmt.Errorf("%s %s/%s: %w", operation, b.URL(), key, err)
}
