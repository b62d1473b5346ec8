package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pupil/storage"
	"pupil/storage/location"
)

// tree is a folder of files, on this machine or in a bucket, or one file alone.
type tree interface {
	// single returns the name of the file when the tree is one.
	single(ctx context.Context) (name string, is bool, err error)
	// list returns all files below the folder, sorted by the elements of their paths, and what cannot be followed.
	list(ctx context.Context) ([]leaf, []Refusal, error)
	// open reads a file from offset: length bytes, or all for -1.
	open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// read returns a whole file; errUnreadable is about this one alone.
	read(ctx context.Context, name string) ([]byte, error)
	// origin names a file for people.
	origin(name string) string
}

// leaf is a file of a tree.
type leaf struct {
	path  string // below the root, with slashes
	size  int64
	stamp string // changes when the content does
}

// openTree opens a path or a URL.
func openTree(ctx context.Context, place string) (tree, error) {
	address, err := location.FromPath(place)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "file" {
		return newFolder(filepath.FromSlash(u.Path))
	}
	if err != nil {
		_, err = location.Open(ctx, address) // says what is wrong without showing it
		return nil, err
	}
	// A URL may name an object: its bucket is opened one level higher.
	parent, base := path.Split(strings.TrimRight(u.Path, "/"))
	u.Path = strings.TrimRight(parent, "/")
	b, err := location.Open(ctx, u.String())
	if err != nil {
		return nil, err
	}
	return &objects{b, base}, nil
}

// folder is a tree on this machine. Symbolic links are followed, but not into a folder that they lie in.
type folder struct{ root, file string } // file is set when the tree is one file in root

func newFolder(root string) (*folder, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &folder{root: root}, nil
	}
	return &folder{filepath.Dir(root), filepath.Base(root)}, nil
}

func (f *folder) single(context.Context) (string, bool, error) { return f.file, f.file != "", nil }

func (f *folder) origin(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

func (f *folder) open(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	file, err := os.Open(f.origin(name))
	if err != nil {
		return nil, err
	}
	if length < 0 {
		_, err := file.Seek(offset, io.SeekStart)
		return file, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, offset, length), file}, nil
}

func (f *folder) read(_ context.Context, name string) ([]byte, error) {
	file, err := os.Open(f.origin(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, bare(err))
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxImage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnreadable, bare(err))
	case len(data) > maxImage:
		return nil, fmt.Errorf("%w: it has more than %d bytes", errUnreadable, maxImage)
	}
	return data, nil
}

// bare takes the path off an error, which is named beside it.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (f *folder) list(ctx context.Context) ([]leaf, []Refusal, error) {
	info, err := os.Stat(f.root)
	if err != nil {
		return nil, nil, err
	}
	w := &walk{folder: f}
	err = w.enter(ctx, "", []os.FileInfo{info})
	slices.SortFunc(w.leaves, func(a, b leaf) int { return comparePaths(a.path, b.path) })
	return w.leaves, w.refused, err
}

// walk is one list of a folder.
type walk struct {
	folder  *folder
	leaves  []leaf
	refused []Refusal
}

// enter lists a folder. above are the folders that it lies in, itself the last.
func (w *walk) enter(ctx context.Context, prefix string, above []os.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(w.folder.origin(prefix))
	if err != nil {
		if prefix == "" {
			return err
		}
		w.refuse(prefix, bare(err).Error())
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // hidden: thumbnails, leftovers of other systems
		}
		name := path.Join(prefix, e.Name())
		info, err := os.Stat(w.folder.origin(name))
		switch {
		case err != nil:
			if isImage(name) || e.Type()&fs.ModeSymlink != 0 {
				w.refuse(name, bare(err).Error())
			}
		case info.IsDir():
			if slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, info) }) {
				w.refuse(name, "the link leads back to a folder that it lies in")
			} else if err := w.enter(ctx, name, append(slices.Clone(above), info)); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			w.leaves = append(w.leaves, leaf{name, info.Size(), fmt.Sprint(info.Size(), info.ModTime().UnixNano())})
		case isImage(name):
			w.refuse(name, "it is no regular file")
		}
	}
	return nil
}

func (w *walk) refuse(name, reason string) {
	w.refused = append(w.refused, Refusal{w.folder.origin(name), reason})
}

// comparePaths orders paths by their elements.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// objects is a tree in a bucket: those below base, or the object base itself.
type objects struct {
	bucket storage.Bucket
	base   string // may be empty
}

func (o *objects) single(ctx context.Context) (string, bool, error) {
	if o.base == "" {
		return "", false, nil
	}
	r, err := o.bucket.Get(ctx, o.base, 0, 0)
	if errors.Is(err, storage.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	name := o.base
	o.base = ""
	return name, true, r.Close()
}

func (o *objects) key(name string) string { return path.Join(o.base, name) }

func (o *objects) origin(name string) string { return o.bucket.URL() + "/" + o.key(name) }

func (o *objects) open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return o.bucket.Get(ctx, o.key(name), offset, length)
}

func (o *objects) read(ctx context.Context, name string) ([]byte, error) {
	return reader(o.bucket, o.key(name))(ctx)
}

func (o *objects) list(ctx context.Context) ([]leaf, []Refusal, error) {
	prefix := o.base
	if prefix != "" {
		prefix += "/"
	}
	found, err := o.bucket.List(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	var out []leaf
	for _, x := range found {
		name := strings.TrimPrefix(x.Key, prefix)
		if !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.") {
			out = append(out, leaf{name, x.Size, fmt.Sprint(x.Size, x.Modified.UnixNano())})
		}
	}
	slices.SortFunc(out, func(a, b leaf) int { return comparePaths(a.path, b.path) })
	return out, nil, nil
}
