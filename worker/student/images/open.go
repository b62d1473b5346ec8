package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/location"
)

// open finds the images of one argument.
func open(ctx context.Context, arg string, stdin io.Reader) (part, error) {
	switch {
	case arg == "-":
		return openStdin(stdin)
	case isURL(arg):
		return openURL(ctx, arg)
	}
	info, err := os.Stat(arg)
	if errors.Is(err, fs.ErrNotExist) && hasMeta(arg) {
		return openGlob(arg)
	}
	switch {
	case err != nil:
		return part{}, fmt.Errorf("images: %w", err)
	case info.IsDir():
		return openFolder(ctx, arg)
	case isTar(arg):
		return tarPart(arg, func(context.Context) (io.ReadCloser, error) { return os.Open(arg) }), nil
	case !info.Mode().IsRegular():
		return part{}, fmt.Errorf("%s is neither a file nor a folder; pipe it into standard input and name that: -", arg)
	}
	return part{name: arg, count: 1, all: list([]Item{file(arg, arg, -1)})}, nil
}

func isURL(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	return ok && !strings.ContainsAny(scheme, "/.")
}

func hasMeta(arg string) bool { return strings.ContainsAny(arg, "*?[") }

// file is an image of the file system.
func file(name, path string, label int) Item {
	return Item{name, label, func(context.Context) ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f)
	}}
}

// openGlob takes the files that match, and of a folder that matches its images.
func openGlob(pattern string) (part, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return part{}, fmt.Errorf("%s: %w", pattern, err)
	}
	var items []Item
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			items = append(items, file(name, name, -1))
		}
	}
	if len(items) == 0 {
		return part{}, fmt.Errorf("%w: no file matches %s", ErrNone, pattern)
	}
	return part{name: pattern, count: len(items), all: list(items)}, nil
}

// openFolder takes a packed dataset, or the images below a folder.
func openFolder(ctx context.Context, folder string) (part, error) {
	if _, err := os.Stat(filepath.Join(folder, dataset.ManifestKey)); err == nil {
		url, err := location.FromPath(folder)
		if err != nil {
			return part{}, err
		}
		b, err := location.Open(ctx, url)
		if err != nil {
			return part{}, err
		}
		return openDataset(ctx, folder, b)
	}
	var names []string // with slashes, below the folder
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && !d.IsDir() && IsImage(name) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return part{}, fmt.Errorf("images of %s: %w", folder, err)
	}
	return sorted(folder, names, func(name string, label int) Item {
		full := filepath.Join(folder, filepath.FromSlash(name))
		return file(full, full, label)
	})
}

// openURL takes an object, those that match the last element, a packed dataset, or the images below a prefix.
func openURL(ctx context.Context, address string) (part, error) {
	parent, base, err := location.Split(address)
	if err != nil {
		return part{}, err
	}
	single, glob := IsImage(base) || isTar(base), hasMeta(base) && !strings.HasPrefix(address, "file:")
	if !single && !glob {
		b, err := location.Open(ctx, address)
		if err != nil {
			return part{}, err
		}
		return openBucket(ctx, address, b)
	}
	b, err := location.Open(ctx, parent)
	if err != nil {
		return part{}, err
	}
	name := below(address)
	switch {
	case glob:
		return openMatches(ctx, name, b, base)
	case isTar(base):
		return tarPart(name, func(ctx context.Context) (io.ReadCloser, error) { return b.Get(ctx, base, 0, -1) }), nil
	}
	return part{name: name, count: 1, all: list([]Item{object(b, name, base, -1)})}, nil
}

// below is a URL without what follows its path, for the names of what lies there.
func below(address string) string {
	name, _, _ := strings.Cut(address, "?")
	return strings.TrimSuffix(name, "/")
}

func openBucket(ctx context.Context, address string, b storage.Bucket) (part, error) {
	objects, err := b.List(ctx, "")
	if err != nil {
		return part{}, fmt.Errorf("images: %w", err)
	}
	var names []string
	for _, o := range objects {
		if o.Key == dataset.ManifestKey {
			return openDataset(ctx, address, b)
		}
		if IsImage(o.Key) {
			names = append(names, o.Key)
		}
	}
	return sorted(address, names, func(name string, label int) Item {
		return object(b, below(address)+"/"+name, name, label)
	})
}

func openMatches(ctx context.Context, address string, b storage.Bucket, pattern string) (part, error) {
	prefix, _, _ := strings.Cut(pattern, pattern[strings.IndexAny(pattern, "*?["):])
	objects, err := b.List(ctx, prefix)
	if err != nil {
		return part{}, fmt.Errorf("images: %w", err)
	}
	var items []Item
	for _, o := range objects {
		ok, err := path.Match(pattern, o.Key)
		if err != nil {
			return part{}, fmt.Errorf("%s: %w", address, err)
		}
		if ok {
			items = append(items, object(b, b.URL()+"/"+o.Key, o.Key, -1))
		}
	}
	if len(items) == 0 {
		return part{}, fmt.Errorf("%w: no object matches %s", ErrNone, address)
	}
	return part{name: address, count: len(items), all: list(items)}, nil
}

// object is an image of a bucket.
func object(b storage.Bucket, name, key string, label int) Item {
	return Item{name, label, func(ctx context.Context) ([]byte, error) {
		r, err := b.Get(ctx, key, 0, -1)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readAll(r)
	}}
}

// sorted makes a part of the images below a folder; names have slashes. Folders are classes when every image lies in one.
func sorted(where string, names []string, item func(name string, label int) Item) (part, error) {
	if len(names) == 0 {
		return part{}, fmt.Errorf("%w below %s (files ending in %s)", ErrNone, where, strings.Join(suffixes, ", "))
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	p := part{name: where, count: len(names)}
	for _, n := range names {
		class, _, ok := strings.Cut(n, "/")
		if !ok {
			p.classes = nil
			break
		}
		if k := len(p.classes); k == 0 || p.classes[k-1] != class {
			p.classes = append(p.classes, class)
		}
	}
	items := make([]Item, len(names))
	for i, n := range names {
		class, _, _ := strings.Cut(n, "/")
		label, ok := slices.BinarySearch(p.classes, class)
		if !ok {
			label = -1
		}
		items[i] = item(n, label)
	}
	p.all = list(items)
	return p, nil
}

var suffixes = []string{".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}

// IsImage says whether a name ends as that of an image, and is not hidden.
func IsImage(name string) bool {
	return slices.Contains(suffixes, strings.ToLower(path.Ext(name))) && !strings.HasPrefix(path.Base(name), ".")
}

func isTar(name string) bool {
	return strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}
