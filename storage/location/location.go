// Package location opens a bucket by its URL, the one place that knows which kinds of buckets there are.
//
//	file:///abs/path     a folder (package dir); the first Put makes it
package location

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"pupil/storage"
	"pupil/storage/dir"
)

// ErrScheme says that a URL names no kind of bucket that this build supports.
var ErrScheme = errors.New("unsupported kind of storage")

// Open returns the bucket of a URL.
func Open(ctx context.Context, address string) (storage.Bucket, error) {
	b, err := open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("open storage %q: %w", address, err)
	}
	return b, nil
}

func open(ctx context.Context, address string) (storage.Bucket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.Unwrap(err) // the message without the address, which Open adds
	}
	switch u.Scheme {
	case "file":
		return openFile(u)
	case "":
		return nil, errors.New("the URL has no scheme; a folder is written file:///absolute/path")
	}
	return nil, fmt.Errorf("%w %q; supported: file:///absolute/path", ErrScheme, u.Scheme+"://")
}

func openFile(u *url.URL) (storage.Bucket, error) {
	switch {
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("%q stands where a host does; a folder is written file:///absolute/path, with three slashes",
			u.Host)
	case !strings.HasPrefix(u.Path, "/"):
		return nil, errors.New("the path is not absolute; a folder is written file:///absolute/path")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("a folder's URL has no '?' and no '#'; write these characters as %3F and %23")
	}
	return dir.New(filepath.FromSlash(u.Path))
}

// FromPath returns the URL of a folder given as a path, made absolute from the working directory. An argument that is
// a URL already is returned as it is. It lets a user write either.
func FromPath(path string) (string, error) {
	if path == "" {
		return "", errors.New("the path is empty")
	}
	if scheme, _, ok := strings.Cut(path, "://"); ok && !strings.ContainsAny(scheme, "/.") {
		return path, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("make %s absolute: %w", path, err)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String(), nil
}
