package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pupil/storage"
	"pupil/storage/location"
)

// bucket keeps the runs of a site, and can be struck.
type bucket interface {
	url(name string) string    // where a run of a name lies, as the site's processes see it
	behind(name string) string // the same place, out of reach of faults
	strike(context.Context, Kind) error
	mend(Kind) error // ends what strike has begun
	close() error
}

// corrupt changes a byte in the middle of the largest part of a run's newest checkpoint, and names the part.
func corrupt(ctx context.Context, run string) (string, error) {
	b, err := location.Open(ctx, run)
	if err != nil {
		return "", err
	}
	objects, err := b.List(ctx, "checkpoints/")
	if err != nil {
		return "", err
	}
	newest := "" // steps have as many digits
	for _, o := range objects {
		if path.Base(o.Key) == "manifest.json" {
			newest = max(newest, path.Dir(o.Key))
		}
	}
	if newest == "" {
		return "", errors.New("there is no checkpoint yet")
	}
	objects = slices.DeleteFunc(objects, func(o storage.Object) bool {
		return path.Dir(o.Key) != newest || !strings.HasSuffix(o.Key, ".safetensors")
	})
	if len(objects) == 0 {
		return "", errors.New("the newest checkpoint has no parts here")
	}
	part := slices.MaxFunc(objects, func(a, b storage.Object) int { return cmp.Compare(a.Size, b.Size) })
	data, err := storage.ReadSized(ctx, b, part.Key, part.Size)
	if err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", fmt.Errorf("%s is empty", part.Key)
	}
	data[len(data)/2] ^= 0xff
	return part.Key, storage.WriteAll(ctx, b, part.Key, data)
}
