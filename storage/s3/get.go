package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"pupil/storage"
)

// resumes is how often a reader whose connection breaks goes on without having got a byte in between.
const resumes = 5

// Get implements storage.Bucket. The reader goes on by itself when its connection breaks, with the version of the object
// that it began with; when the object was replaced meanwhile, it fails.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	name, err := b.name(ctx, key)
	if err == nil {
		err = storage.CheckRange(offset, length)
	}
	if err != nil {
		return nil, b.wrap("get", key, err)
	}
	if length == 0 {
		return b.nothing(ctx, key, name, offset)
	}
	r := &reader{ctx: ctx, bucket: b, name: name, next: offset, end: -1, broken: resumes}
	if length > 0 {
		r.end = offset + length
	}
	err = r.open()
	switch {
	case err == nil:
		return r, nil
	case missing(err):
		return nil, b.wrap("get", key, storage.ErrNotFound)
	case minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return b.nothing(ctx, key, name, offset) // a range behind the last byte has none, but may begin there
	}
	return nil, b.wrap("get", key, cmp.Or(ctx.Err(), err))
}

// nothing is a Get of no bytes: only the object's existence and size matter.
func (b *Bucket) nothing(ctx context.Context, key, name string, offset int64) (io.ReadCloser, error) {
	info, err := b.core.StatObject(ctx, b.config.Bucket, name, minio.StatObjectOptions{})
	switch {
	case err != nil && (missing(err) || isFolder(err)):
		return nil, b.wrap("get", key, storage.ErrNotFound)
	case err != nil:
		return nil, b.wrap("get", key, cmp.Or(ctx.Err(), err))
	case offset > info.Size:
		return nil, b.wrap("get", key, storage.Beyond(offset, info.Size))
	}
	return http.NoBody, nil
}

// reader gives the bytes next..end-1 of one version of an object. It lives as long as the context of its Get.
type reader struct {
	ctx       context.Context
	bucket    *Bucket
	name      string
	etag      string // of the version; "" before the first answer
	next, end int64  // end is -1 before the first answer, when all that follows is wanted
	broken    int    // connections that may still break in a row
	body      io.ReadCloser
}

// open asks for the bytes that are missing.
func (r *reader) open() error {
	var o minio.GetObjectOptions
	if r.etag != "" {
		if err := o.SetMatchETag(r.etag); err != nil {
			return err
		}
	}
	if r.next > 0 || r.end >= 0 {
		last := int64(0) // to the end
		if r.end >= 0 {
			last = r.end - 1
		}
		if r.next == 0 && last == 0 { // the library takes 0, 0 for something else
			o.Set("Range", "bytes=0-0")
		} else if err := o.SetRange(r.next, last); err != nil {
			return err
		}
	}
	body, info, _, err := r.bucket.core.GetObject(r.ctx, r.bucket.config.Bucket, r.name, o)
	if err != nil {
		return err
	}
	if info.Size < 0 {
		return errors.Join(errors.New("the store does not tell the object's size"), body.Close())
	}
	r.body, r.etag, r.end = body, info.ETag, r.next+info.Size // what there is, when that is less than what was asked for
	return nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.next >= r.end {
			return 0, io.EOF
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.next)])
		r.next += int64(n)
		if n > 0 {
			r.broken = resumes
			return n, nil // an error comes again
		}
		if err == nil {
			if len(p) == 0 {
				return 0, nil
			}
			continue
		}
		if again := r.resume(err); again != nil {
			return 0, again
		}
	}
}

// resume connects again after a connection has broken.
func (r *reader) resume(cause error) error {
	fail := func(err error) error { return r.bucket.wrap("read", r.name[len(r.bucket.prefix):], err) }
	if err := r.ctx.Err(); err != nil {
		return fail(err)
	}
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	if r.broken == 0 {
		return fail(fmt.Errorf("the connection broke %d times in a row: %w", resumes, cause))
	}
	r.broken--
	_ = r.body.Close() // it is broken
	end := r.end
	err := r.open()
	switch {
	case err != nil && (minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed || missing(err)):
		return fail(fmt.Errorf("the object was replaced while it was read, and the connection broke: %w", cause))
	case err != nil:
		return fail(cmp.Or(r.ctx.Err(), err))
	case r.end != end:
		return fail(fmt.Errorf("%w: it ended at %d before, and at %d after the connection broke", storage.ErrSize, end, r.end))
	}
	return nil
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.body.Close() }
