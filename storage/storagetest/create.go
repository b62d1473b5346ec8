package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pupil/storage"
)

// create checks storage.Create: one of several writers wins, and a call can be made again.
func create(t *testing.T, b storage.Bucket) {
	for range 2 { // the second is the first made again
		if err := storage.Create(t.Context(), b, "folder/k", []byte("first")); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"other", "longer than first", ""} {
		if err := storage.Create(t.Context(), b, "folder/k", []byte(other)); !errors.Is(err, storage.ErrExists) {
			t.Errorf("Create of %q over an object = %v, want ErrExists", other, err)
		}
	}
	if got := get(t, b, "folder/k", 0, -1); string(got) != "first" {
		t.Errorf("after a refused Create the object is %q", got)
	}
	if err := storage.Create(t.Context(), b, "a//b", nil); !errors.Is(err, storage.ErrKey) {
		t.Errorf("Create of an invalid key = %v", err)
	}
	const writers = 6
	for round := range 4 {
		key := fmt.Sprintf("race/%d", round)
		var won atomic.Int64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				switch err := storage.Create(t.Context(), b, key, bytes.Repeat([]byte{byte(w)}, 1000)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, storage.ErrExists):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of %d writers have created one object", won.Load(), writers)
		}
	}
	if err := b.Delete(t.Context(), "folder/k"); err != nil {
		t.Fatal(err)
	}
	if err := storage.Create(t.Context(), b, "folder/k", []byte("again")); err != nil {
		t.Errorf("Create after a Delete: %v", err)
	}
}
