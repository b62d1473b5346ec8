package safetensors

import (
	"context"
	"fmt"
	"math"

	"pupil/storage"
)

// Get reads and decodes a file of a bucket.
func Get(ctx context.Context, b storage.Bucket, key string) (*File, error) {
	data, err := storage.ReadAll(ctx, b, key, math.MaxInt64-1)
	if err != nil {
		return nil, err
	}
	f, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", b.URL(), key, err)
	}
	return f, nil
}

// Put encodes a file and stores it in a bucket.
func Put(ctx context.Context, b storage.Bucket, key string, f *File) error {
	data, err := f.Encode()
	if err != nil {
		return fmt.Errorf("%s/%s: %w", b.URL(), key, err)
	}
	return storage.WriteAll(ctx, b, key, data)
}
