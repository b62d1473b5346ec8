package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"pupil/storage"
)

// Bucket is a storage.Bucket in an S3-compatible store. Open makes one.
type Bucket struct {
	core   minio.Core
	config Config
	prefix string // before each key: empty, or with a slash at its end
}

var (
	_ storage.Bucket  = (*Bucket)(nil)
	_ storage.Creator = (*Bucket)(nil)
)

// Open connects to a bucket, which must exist, and makes sure that the store answers and knows it.
func Open(ctx context.Context, c Config) (*Bucket, error) {
	c = c.withDefaults()
	const probes = 4 // of a store that cannot be reached, when it was never seen
	probe, err := connect(c, probes)
	if err != nil {
		return nil, err
	}
	if err := try(ctx, probe, c); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Endpoint, err)
	}
	client, err := connect(c, c.Retries)
	if err != nil {
		return nil, err
	}
	b := &Bucket{core: minio.Core{Client: client}, config: c}
	if c.Prefix != "" {
		b.prefix = c.Prefix + "/"
	}
	return b, nil
}

// try lists one object, since the answer to a list, unlike that to a HEAD, says what is wrong.
func try(ctx context.Context, client *minio.Client, c Config) error {
	listing, cancel := context.WithCancel(ctx)
	defer cancel()
	o := <-client.ListObjects(listing, c.Bucket, minio.ListObjectsOptions{Prefix: c.Prefix, Recursive: true, MaxKeys: 1})
	if o.Err == nil || minio.ToErrorResponse(o.Err).Code == "AccessDenied" {
		return ctx.Err() // keys that may not list may be good for objects all the same
	}
	return cmp.Or(ctx.Err(), explain(o.Err))
}

// connect returns a client that tries each request so often.
func connect(c Config, tries int) (*minio.Client, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	keys, err := c.keyring(&http.Client{Transport: transport})
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if c.PathStyle != nil && *c.PathStyle {
		lookup = minio.BucketLookupPath
	} else if c.PathStyle != nil {
		lookup = minio.BucketLookupDNS
	}
	// TrailingHeaders stay off: over plain HTTP not every store understands them. Parts have an MD5 in front instead.
	return minio.New(endpoint.Host, &minio.Options{
		Creds: keys, Secure: endpoint.Scheme == "https", Transport: lending{transport}, Region: c.Region, BucketLookup: lookup,
		MaxRetries: tries,
	})
}

// URL implements storage.Bucket. It leaves the parameters out.
func (b *Bucket) URL() string {
	u := url.URL{Scheme: "s3", Host: b.config.Bucket}
	if b.config.Prefix != "" {
		u.Path = "/" + b.config.Prefix
	}
	return u.String()
}

// List implements storage.Bucket. Objects whose keys are not valid by the rules of storage are none of ours.
func (b *Bucket) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	if err := cmp.Or(ctx.Err(), storage.ValidatePrefix(prefix)); err != nil {
		return nil, b.wrap("list", prefix, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when an error does
	var found []storage.Object
	ask := b.prefix + prefix
	if i := strings.LastIndexByte(ask, '/') + 1; ask[i:] == "." || ask[i:] == ".." {
		ask = ask[:i] // MinIO takes these for the names of folders
	}
	options := minio.ListObjectsOptions{Prefix: ask, Recursive: true}
	for o := range b.core.Client.ListObjects(ctx, b.config.Bucket, options) {
		if o.Err != nil {
			return nil, b.wrap("list", prefix, o.Err)
		}
		key := strings.TrimPrefix(o.Key, b.prefix)
		if strings.HasPrefix(key, prefix) && storage.ValidateKey(key) == nil {
			found = append(found, storage.Object{Key: key, Size: o.Size, Modified: o.LastModified})
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, b.wrap("list", prefix, err)
	}
	slices.SortFunc(found, func(a, b storage.Object) int { return cmp.Compare(a.Key, b.Key) })
	return found, nil
}

// Delete implements storage.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	name, err := b.name(ctx, key)
	if err != nil {
		return b.wrap("delete", key, err)
	}
	err = b.core.RemoveObject(ctx, b.config.Bucket, name, minio.RemoveObjectOptions{})
	if err != nil && !missing(err) && !isFolder(err) {
		return b.wrap("delete", key, cmp.Or(ctx.Err(), err))
	}
	return nil
}

// name is a key as the store knows it.
func (b *Bucket) name(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := storage.ValidateKey(key); err != nil {
		return "", err
	}
	name := b.prefix + key
	if err := storage.ValidateKey(name); err != nil { // with the prefix it may be too long
		return "", err
	}
	return name, nil
}

func (b *Bucket) wrap(operation, key string, err error) error {
	return fmt.Errorf("%s %s/%s: %w", operation, b.URL(), key, explain(err))
}

// missing tells whether an object does not exist.
func missing(err error) bool {
	r := minio.ToErrorResponse(err)
	return r.Code == minio.NoSuchKey || r.Code == "NoSuchObject" || r.Code != minio.NoSuchBucket && r.StatusCode == http.StatusNotFound
}

// isFolder tells whether a store that keeps objects in folders found one under a key: there is no such object.
func isFolder(err error) bool {
	code := minio.ToErrorResponse(err).Code
	return code == "DirectoryNotEmpty" || code == "ExistingObjectIsDirectory" || code == "ObjectParentIsFile" || code == "XMinioParentIsObject"
}

// hints say what to do about the errors that a user can mend.
var hints = map[string]string{
	"AccessDenied":                 "the keys do not allow it; check the bucket's policy",
	"InvalidAccessKeyId":           "the store does not know the access key; check PUPIL_S3_ACCESS_KEY or the credentials file",
	"SignatureDoesNotMatch":        "check the secret key, the region and the clock of this machine",
	"RequestTimeTooSkewed":         "set the clock of this machine",
	"ExpiredToken":                 "renew the session's keys",
	"NoSuchBucket":                 "make the bucket first, or correct its name",
	"AuthorizationHeaderMalformed": "the region is probably another; set PUPIL_S3_REGION",
}

// explain adds what to do about an error, and makes a bare response tell its code.
func explain(err error) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return err
	}
	if hint := hints[r.Code]; hint != "" && r.Code == minio.NoSuchBucket {
		return fmt.Errorf("there is no bucket %q: %w; %s", r.BucketName, err, hint)
	} else if hint != "" {
		return fmt.Errorf("%s: %w; %s", r.Code, err, hint)
	}
	return fmt.Errorf("%s (HTTP %d): %w", r.Code, r.StatusCode, err)
}
