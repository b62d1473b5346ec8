package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"pupil/storage"
)

// maxParts is the protocol's bound, with room for a body that is longer than announced.
const maxParts = 9900

// abortWithin bounds how long an upload that failed is taken back.
const abortWithin = 30 * time.Second

// Put implements storage.Bucket. A body of at most one part is held in memory and put whole; a longer one is uploaded in
// parts, Parallel+1 of which are in memory.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	name, err := b.name(ctx, key)
	if err != nil {
		return b.wrap("put", key, err)
	}
	u := &upload{bucket: b, name: name, part: b.config.PartSize}
	for size > u.part*maxParts {
		u.part *= 2
	}
	u.ctx, u.cancel = context.WithCancelCause(ctx)
	defer u.cancel(nil)
	if size >= 0 {
		u.buffer.Grow(int(min(size, b.config.PartSize)))
	}
	_, err = storage.CopyBody(u.ctx, u, body, size)
	if err == nil {
		err = u.finish()
	}
	if err != nil {
		return b.wrap("put", key, errors.Join(cmp.Or(ctx.Err(), context.Cause(u.ctx), err), u.abort(ctx)))
	}
	return nil
}

// upload collects a body and sends it part by part. It lives as long as its Put.
type upload struct {
	ctx    context.Context // ends with the Put's, and with the first part that fails
	cancel context.CancelCauseFunc
	bucket *Bucket
	name   string
	part   int64 // bytes

	buffer bytes.Buffer // the part that is being filled
	id     string       // of a multipart upload; "": none has begun
	sent   int          // parts
	slots  chan struct{}
	under  sync.WaitGroup
	mu     sync.Mutex
	done   []minio.CompletePart
}

// Write implements io.Writer. It keeps the last part, which may be the whole, until finish.
func (u *upload) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if int64(u.buffer.Len()) == u.part {
			if err := u.send(); err != nil {
				return written, err
			}
		}
		n := min(int64(len(p)), u.part-int64(u.buffer.Len()))
		u.buffer.Write(p[:n])
		p = p[n:]
		written += int(n)
	}
	return written, nil
}

// send begins to upload the collected part, after one of those under way has ended when there are enough.
func (u *upload) send() error {
	if u.id == "" {
		id, err := u.bucket.core.NewMultipartUpload(u.ctx, u.bucket.config.Bucket, u.name, contentType)
		if err != nil {
			return err
		}
		u.id, u.slots = id, make(chan struct{}, u.bucket.config.Parallel)
	}
	if u.sent >= 10000 {
		return fmt.Errorf("the body is longer than the %d parts of %d bytes that the store takes", u.sent, u.part)
	}
	select {
	case u.slots <- struct{}{}:
	case <-u.ctx.Done():
		return context.Cause(u.ctx)
	}
	data := u.buffer.Bytes()
	u.buffer = bytes.Buffer{}
	u.sent++
	number := u.sent
	u.under.Go(func() {
		defer func() { <-u.slots }()
		p, err := u.bucket.core.PutObjectPart(u.ctx, u.bucket.config.Bucket, u.name, u.id, number, bytes.NewReader(data),
			int64(len(data)), minio.PutObjectPartOptions{Md5Base64: sum(data)})
		if err != nil {
			u.cancel(fmt.Errorf("part %d: %w", number, err))
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.done = append(u.done, minio.CompletePart{PartNumber: number, ETag: p.ETag})
	})
	return nil
}

// finish puts the whole body, or the last part and then all together.
func (u *upload) finish() error {
	if u.id == "" {
		return u.bucket.put(u.ctx, u.name, u.buffer.Bytes(), contentType)
	}
	if err := u.send(); err != nil {
		return err
	}
	u.under.Wait()
	if err := context.Cause(u.ctx); err != nil {
		return err
	}
	slices.SortFunc(u.done, func(a, b minio.CompletePart) int { return cmp.Compare(a.PartNumber, b.PartNumber) })
	_, err := u.bucket.core.CompleteMultipartUpload(u.ctx, u.bucket.config.Bucket, u.name, u.id, u.done, minio.PutObjectOptions{})
	return err
}

// put stores an object with one request.
func (b *Bucket) put(ctx context.Context, name string, data []byte, o minio.PutObjectOptions) error {
	// A gateway over a file system removes the folders that a Delete leaves empty, and refuses a Put into one meanwhile.
	const tries = 5
	for try := 1; ; try++ {
		_, err := b.core.PutObject(ctx, b.config.Bucket, name, bytes.NewReader(data), int64(len(data)), sum(data), "", o)
		if err == nil || try == tries || !isFolder(err) {
			return err
		}
	}
}

// abort takes a failed upload back, also when its context has ended.
func (u *upload) abort(ctx context.Context) error {
	if u.id == "" {
		return nil
	}
	u.cancel(errors.New("the upload has failed"))
	u.under.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	err := u.bucket.core.AbortMultipartUpload(ctx, u.bucket.config.Bucket, u.name, u.id)
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
		return fmt.Errorf("take the upload back: %w", err)
	}
	return nil
}

var contentType = minio.PutObjectOptions{ContentType: "application/octet-stream"}

// sum is the MD5 that the store checks a body by: what crosses the network is what is stored.
func sum(data []byte) string {
	s := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(s[:])
}

// Create implements storage.Creator by If-None-Match. When the store has the object already, but with the same bytes, it
// was an earlier try of this call whose answer was lost, or another writer that agrees: that is no error.
func (b *Bucket) Create(ctx context.Context, key string, data []byte) error {
	name, err := b.name(ctx, key)
	if err != nil {
		return b.wrap("create", key, err)
	}
	o := contentType
	o.SetMatchETagExcept("*")
	for try := 1; ; try++ {
		if err = b.put(ctx, name, data, o); err == nil {
			return nil
		}
		r := minio.ToErrorResponse(err)
		if r.StatusCode == http.StatusConflict && r.Code == "ConditionalRequestConflict" && try < b.config.Retries {
			continue // another writer was at it at the same moment; now there is an object, or there is none
		}
		if r.StatusCode != http.StatusPreconditionFailed {
			return b.wrap("create", key, cmp.Or(ctx.Err(), err))
		}
		have, err := storage.ReadAll(ctx, b, key, int64(len(data)))
		switch {
		case err == nil && bytes.Equal(have, data):
			return nil
		case errors.Is(err, storage.ErrNotFound) && try < b.config.Retries:
			continue // deleted since
		case err == nil || errors.Is(err, storage.ErrSize):
			return b.wrap("create", key, storage.ErrExists)
		}
		return b.wrap("create", key, err)
	}
}
