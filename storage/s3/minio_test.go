//go:build e2e

package s3_test

import (
	"bytes"
	"testing"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/storagetest"
)

func TestContractOnMinIO(t *testing.T) {
	server := teststore.MinIO(t)
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return open(t, server.URL(t, "")) })
	t.Run("large", func(t *testing.T) {
		b := open(t, server.URL(t, ""))
		data := pattern(70 << 20)
		if err := b.Put(t.Context(), "large", bytes.NewReader(data), -1); err != nil {
			t.Fatal(err)
		}
		if got, err := storage.ReadAll(t.Context(), b, "large", 1<<30); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
