package s3_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/s3"
	"pupil/storage/storagetest"
)

// open returns the bucket of a URL, with the keys of the test's stores.
func open(t *testing.T, address string) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), config(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func config(t *testing.T, address string) s3.Config {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s3.Parse(u, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// environment is os.Getenv with the keys of the test's stores and no others.
func environment(more map[string]string) func(string) string {
	return func(name string) string {
		switch name {
		case "PUPIL_S3_ACCESS_KEY":
			return teststore.AccessKey
		case "PUPIL_S3_SECRET_KEY":
			return teststore.SecretKey
		}
		return more[name]
	}
}

// versity hides the temporary files that versitygw lists on file systems without O_TMPFILE.
type versity struct{ *s3.Bucket }

func (v versity) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	objects, err := v.Bucket.List(ctx, prefix)
	return slices.DeleteFunc(objects, func(o storage.Object) bool { return strings.Contains(o.Key, ".sgwtmp.") }), err
}

func TestContractOnVersity(t *testing.T) {
	server := teststore.Versity(t)
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return versity{open(t, server.URL(t, ""))} })
}
