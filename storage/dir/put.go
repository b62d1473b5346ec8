package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pupil/storage"
)

// temporaryPrefix begins the names of files that are not objects yet.
const temporaryPrefix = ".pupil-tmp-"

// abandoned is how long a temporary file must have been still before it counts as left behind by a dead process.
const abandoned = time.Hour

// attempts bounds how often a Put makes its folder again, when a Delete elsewhere keeps removing it as empty.
const attempts = 16

func temporary(name string) bool { return strings.HasPrefix(name, temporaryPrefix) }

// Put implements storage.Bucket. A body whose size is not the announced one leaves nothing behind.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	path, err := b.path(ctx, key)
	if err != nil {
		return b.wrap("put", key, err)
	}
	f, err := create(filepath.Dir(path))
	if err != nil {
		return b.wrap("put", key, err)
	}
	if err := fill(ctx, f, body, size); err != nil {
		return b.wrap("put", key, errors.Join(err, os.Remove(f.Name())))
	}
	if err := replace(f.Name(), path); err != nil {
		return b.wrap("put", key, errors.Join(err, os.Remove(f.Name())))
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return b.wrap("put", key, err)
	}
	return nil
}

// Create implements storage.Creator: a hard link to the temporary file, which fails where there is a file already.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	if err := b.createObject(ctx, key, data); err != nil {
		return b.wrap("create", key, err)
	}
	return nil
}

func (b *Bucket) createObject(ctx context.Context, key string, data []byte) error {
	path, err := b.path(ctx, key)
	if err != nil {
		return err
	}
	f, err := create(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = fill(ctx, f, bytes.NewReader(data), int64(len(data)))
	if err == nil {
		err = link(f.Name(), path, data)
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// link gives a temporary file its place, unless there is a file with other bytes: that is ErrExists.
func link(temporary, path string, data []byte) error {
	for {
		err := os.Link(temporary, path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = agrees(path, data); !missing(err) {
			return err
		} // else deleted since
	}
}

// agrees returns ErrExists unless a file has the same bytes.
func agrees(path string, data []byte) error {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.IsDir() {
		return fmt.Errorf("%s holds objects, and no key may be a path prefix of another", path)
	} else if info.Size() != int64(len(data)) {
		return storage.ErrExists
	}
	have, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(have, data) {
		err = storage.ErrExists
	}
	return err
}

// create makes a temporary file in a folder, and the folder when it is missing. While the file is there, no Delete can
// remove the folder.
func create(folder string) (f *os.File, err error) {
	for range attempts {
		if err = makeFolder(folder); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(filepath.Join(folder, temporaryPrefix+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, err
}

// makeFolder makes a folder and its parents, and flushes each parent that got a new entry.
func makeFolder(path string) error {
	for range attempts {
		err := os.Mkdir(path, 0o755)
		switch {
		case err == nil:
			return syncFolder(filepath.Dir(path))
		case errors.Is(err, fs.ErrExist):
			info, err := os.Stat(path)
			if missing(err) {
				continue
			}
			if err == nil && !info.IsDir() {
				err = fmt.Errorf("%s is an object, and no key may be a path prefix of another", path)
			}
			return err
		case errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("a part of %s is an object, and no key may be a path prefix of another", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return fmt.Errorf("make folder %s: it is removed as often as it is made", path)
}

// fill writes, flushes and closes the temporary file.
func fill(ctx context.Context, f *os.File, body io.Reader, size int64) error {
	_, err := storage.CopyBody(ctx, f, body, size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace renames the temporary file to its place, which may be an empty folder that a Delete did not get to remove.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EISDIR) {
		return err
	}
	if syscall.Rmdir(to) != nil { // it removes nothing but an empty folder
		return fmt.Errorf("%s holds objects, and no key may be a path prefix of another", to)
	}
	return os.Rename(from, to)
}

// syncFolder flushes a folder's entries to the disk.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
