package storage

import (
	"context"
	"io"
	"strings"
)

// Prefix returns the part of a bucket whose keys begin with prefix and a slash, as a bucket of its own. The prefix
// follows the rules of a key; every method of a bucket with an invalid one returns an error. An empty prefix returns b.
func Prefix(b Bucket, prefix string) Bucket {
	if prefix == "" {
		return b
	}
	return &prefixed{b, prefix + "/"}
}

// prefixed adds a prefix to the keys. The bucket inside checks the whole key, so "../x" cannot leave the prefix.
type prefixed struct {
	bucket Bucket
	prefix string // ends with a slash
}

var (
	_ Bucket  = (*prefixed)(nil)
	_ Creator = (*prefixed)(nil)
)

func (p *prefixed) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return p.bucket.Get(ctx, p.prefix+key, offset, length)
}

func (p *prefixed) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return p.bucket.Put(ctx, p.prefix+key, body, size)
}

// Create implements Creator as the bucket inside does.
func (p *prefixed) Create(ctx context.Context, key string, data []byte) error {
	return Create(ctx, p.bucket, p.prefix+key, data)
}

func (p *prefixed) List(ctx context.Context, prefix string) ([]Object, error) {
	objects, err := p.bucket.List(ctx, p.prefix+prefix)
	if err != nil {
		return nil, err
	}
	for i := range objects {
		objects[i].Key = strings.TrimPrefix(objects[i].Key, p.prefix)
	}
	return objects, nil
}

func (p *prefixed) Delete(ctx context.Context, key string) error {
	return p.bucket.Delete(ctx, p.prefix+key)
}

func (p *prefixed) URL() string {
	return strings.TrimSuffix(p.bucket.URL(), "/") + "/" + strings.TrimSuffix(p.prefix, "/")
}
