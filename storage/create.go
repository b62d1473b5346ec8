package storage

import (
	"context"
	"errors"
	"fmt"
)

// ErrExists says that an object was not created, because there is another under its key. Test for it with errors.Is.
var ErrExists = errors.New("object exists already")

// Creator is what a Bucket can do beside: all that this tree has do.
type Creator interface {
	// Create stores an object like Put, unless there is one under the key: of several writers one wins, and the others get
	// ErrExists. An object with the same bytes is no error, so that a call whose answer was lost can be made again.
	Create(ctx context.Context, key string, data []byte) error
}

// Create is Creator's of a bucket. A bucket that is none gives errors.ErrUnsupported.
func Create(ctx context.Context, b Bucket, key string, data []byte) error {
	c, ok := b.(Creator)
	if !ok {
		return fmt.Errorf("create %s/%s: %w", b.URL(), key, errors.ErrUnsupported)
	}
	return c.Create(ctx, key, data)
}
