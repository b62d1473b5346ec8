// Package location opens a bucket by its URL, the one place that knows which kinds of buckets there are.
//
//	file:///abs/path     a folder (package dir); the first Put makes it
//	s3://bucket/prefix   an S3-compatible store (package s3, which has the parameters that may follow a '?')
package location

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"pupil/storage"
	"pupil/storage/dir"
	"pupil/storage/s3"
)

// ErrScheme says that a URL names no kind of bucket that this build supports.
var ErrScheme = errors.New("unsupported kind of storage")

// Open returns the bucket of a URL. What it needs beside, such as the keys of a store, comes from the environment.
func Open(ctx context.Context, address string) (storage.Bucket, error) {
	b, err := open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("open storage %q: %w", Redact(address), err)
	}
	return b, nil
}

// Redact returns a URL that can be shown: without user and password, and without the values of
// parameters that package s3 does not know.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		scheme, _, _ := strings.Cut(address, "://")
		return scheme + "://(a URL that cannot be read)"
	}
	if u.User != nil {
		u.User = url.User("(hidden)")
	}
	if u.RawQuery != "" {
		query, _ := url.ParseQuery(u.RawQuery) // what cannot be read is left out
		for name, values := range query {
			if !s3.Parameter(name) || strings.Contains(strings.Join(values, ""), "@") { // an address with a password
				query[name] = []string{"(hidden)"}
			}
		}
		u.RawQuery = query.Encode()
	}
	if text, err := url.QueryUnescape(u.String()); err == nil {
		return text
	}
	return u.String()
}

func open(ctx context.Context, address string) (storage.Bucket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "file":
		return openFile(u)
	case "s3":
		c, err := s3.Parse(u, os.Getenv)
		if err != nil {
			return nil, err
		}
		b, err := s3.Open(ctx, c)
		if err != nil {
			return nil, err
		}
		return b, nil
	case "":
		return nil, errors.New("the URL has no scheme; a folder is written file:///absolute/path")
	}
	return nil, fmt.Errorf("%w %q; supported: file:///absolute/path, s3://bucket/prefix", ErrScheme, u.Scheme+"://")
}

// parse gives errors without the address, which the caller adds.
func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err == nil {
		return u, nil
	}
	if err = errors.Unwrap(err); strings.Contains(err.Error(), "@") || strings.Contains(address, "@") {
		return nil, errors.New("the URL cannot be read") // the message may quote a part of a password
	}
	return nil, err
}

// Split cuts the URL of an object into that of a bucket and the object's key in it, which is the last element of the path.
// The bucket's URL has the parameters. The key is "" where the path has no element.
func Split(address string) (bucket, key string, err error) {
	u, err := parse(address)
	if err != nil {
		return "", "", fmt.Errorf("open storage %q: %w", Redact(address), err)
	}
	parent, key := path.Split(u.Path)
	if u.Path, u.RawPath = strings.TrimSuffix(parent, "/"), ""; u.Host == "" {
		u.Path = parent // the root of a file system keeps its slash
	}
	return u.String(), key, nil
}

// Join is the URL of a place of a name below that of another one, with the same parameters.
func Join(address, name string) (string, error) {
	u, err := parse(address)
	if err != nil {
		return "", fmt.Errorf("storage %q: %w", Redact(address), err)
	}
	return u.JoinPath(name).String(), nil
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

// Local tells whether a URL names a place on this machine.
func Local(address string) bool { return strings.HasPrefix(address, "file:") }

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
