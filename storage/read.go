package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrSize says that an object is larger than expected, or has not the size that it must have.
var ErrSize = errors.New("object has the wrong size")

// ReadAll returns a whole object of at most limit bytes. A larger one gives ErrSize before it fills the memory.
func ReadAll(ctx context.Context, b Bucket, key string, limit int64) ([]byte, error) {
	return read(ctx, b, key, limit, 0)
}

// ReadSized returns a whole object that must have exactly size bytes. Another size gives ErrSize.
func ReadSized(ctx context.Context, b Bucket, key string, size int64) ([]byte, error) {
	const most = 64 << 20 // a wrong size must not claim more memory than this at once
	data, err := read(ctx, b, key, size, int(min(max(size, 0), most)))
	if err == nil && int64(len(data)) < size {
		return nil, fmt.Errorf("read %s/%s: %w: %d bytes, want %d", b.URL(), key, ErrSize, len(data), size)
	}
	return data, err
}

// read returns an object of at most limit bytes; expected of them get their memory at once.
func read(ctx context.Context, b Bucket, key string, limit int64, expected int) (_ []byte, err error) {
	r, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var data bytes.Buffer
	data.Grow(expected + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(r, limit)); err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", b.URL(), key, err)
	}
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return nil, fmt.Errorf("read %s/%s: %w: more than %d bytes", b.URL(), key, ErrSize, limit)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read %s/%s: %w", b.URL(), key, err)
	}
	return data.Bytes(), nil
}

// WriteAll stores data under key.
func WriteAll(ctx context.Context, b Bucket, key string, data []byte) error {
	return b.Put(ctx, key, bytes.NewReader(data), int64(len(data)))
}

// CheckRange checks the offset and the length of a Get. Implementations of Bucket call it.
func CheckRange(offset, length int64) error {
	if offset < 0 || length < -1 {
		return fmt.Errorf("offset %d, length %d: out of range", offset, length)
	}
	return nil
}

// Beyond is the error of a Get whose offset lies behind an object's end: ErrSize. Implementations of Bucket call it.
func Beyond(offset, size int64) error {
	return fmt.Errorf("%w: offset %d is beyond its %d bytes", ErrSize, offset, size)
}

// CopyBody copies the body of a Put to w until it ends or ctx does. It returns an error when the body has not size
// bytes (any number for -1). Implementations of Bucket call it.
func CopyBody(ctx context.Context, w io.Writer, body io.Reader, size int64) (int64, error) {
	if size < -1 {
		return 0, fmt.Errorf("size %d: out of range", size)
	}
	in := io.Reader(&cancelable{ctx, body})
	if size >= 0 {
		in = io.LimitReader(in, size+1) // one byte more shows that the body is too long
	}
	n, err := io.Copy(w, in)
	switch {
	case err != nil:
		return n, err
	case size >= 0 && n > size:
		return n, fmt.Errorf("the body has more than the announced %d bytes", size)
	case size >= 0 && n < size:
		return n, fmt.Errorf("the body ends after %d bytes, %d were announced: %w", n, size, io.ErrUnexpectedEOF)
	}
	return n, nil
}

// cancelable ends a copy when its context ends. It lives only as long as the call that made it.
type cancelable struct {
	ctx  context.Context
	body io.Reader
}

func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.body.Read(p)
}
