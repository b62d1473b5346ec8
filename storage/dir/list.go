package dir

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pupil/storage"
)

// List implements storage.Bucket. It reads only the folders that can hold keys with the prefix, and removes temporary
// files in them that a dead process left behind. A bucket whose folder does not exist has no objects.
func (b *Bucket) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	if err := storage.ValidatePrefix(prefix); err != nil {
		return nil, b.wrap("list", prefix, err)
	}
	w := walk{ctx: ctx, prefix: prefix, abandoned: time.Now().Add(-abandoned)}
	parent := prefix[:strings.LastIndexByte(prefix, '/')+1]
	if err := w.folder(filepath.Join(b.root, filepath.FromSlash(parent)), parent); err != nil {
		return nil, b.wrap("list", prefix, err)
	}
	slices.SortFunc(w.found, func(a, b storage.Object) int { return cmp.Compare(a.Key, b.Key) })
	return w.found, nil
}

// walk is one List. It lives only as long as the call.
type walk struct {
	ctx       context.Context
	prefix    string
	abandoned time.Time
	found     []storage.Object
}

// folder lists a folder whose files have keys that begin with parent, which is empty or ends with a slash.
func (w *walk) folder(path, parent string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil && !missing(err) {
		return err
	}
	for _, e := range entries {
		key := parent + e.Name()
		file := filepath.Join(path, e.Name())
		if temporary(e.Name()) {
			w.clean(file, e)
			continue
		}
		if e.IsDir() {
			if strings.HasPrefix(key+"/", w.prefix) || strings.HasPrefix(w.prefix, key+"/") {
				err = w.folder(file, key+"/")
			}
		} else if strings.HasPrefix(key, w.prefix) {
			err = w.file(file, key)
		}
		if err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

func (w *walk) file(path, key string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err // a file that has gone since is no object
	}
	if info.Mode().IsRegular() && storage.ValidateKey(key) == nil {
		w.found = append(w.found, storage.Object{Key: key, Size: info.Size(), Modified: info.ModTime()})
	}
	return nil
}

// clean removes a temporary file that is old enough. A folder that cannot be written keeps it.
func (w *walk) clean(path string, e fs.DirEntry) {
	if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(w.abandoned) {
		_ = os.Remove(path)
	}
}
