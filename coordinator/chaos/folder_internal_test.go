package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"pupil/storage"
	"pupil/storage/dir"
)

// TestFolder strikes the folder that a real bucket writes to. What was there stays readable, and all is well again when the
// fault is over.
func TestFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs")
	b, err := openFolder(path, true)
	if os.Geteuid() == 0 && !canStrikeFolder(Fail) { // a container without the right to mount
		if err == nil {
			t.Error("a bucket that cannot be struck was opened for it")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	files, err := dir.New(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(key string) error { return storage.WriteAll(t.Context(), files, key, make([]byte, 10_000)) }
	if err := write("run/before"); err != nil {
		t.Fatal(err)
	}
	for _, k := range []Kind{Fail, Full} {
		if k == Full && os.Geteuid() != 0 {
			if err := b.strike(t.Context(), k); err == nil {
				t.Error("who is not root has filled the file system")
			}
			continue
		}
		if err := b.strike(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if err := write("run/while"); err == nil {
			t.Errorf("%s: a write succeeds", k)
		}
		if data, err := storage.ReadAll(t.Context(), files, "run/before", 1<<20); err != nil || len(data) != 10_000 {
			t.Errorf("%s: what was there is read as %d bytes, %v", k, len(data), err)
		}
		if err := b.mend(k); err != nil {
			t.Fatal(err)
		}
		if err := write("run/after"); err != nil {
			t.Errorf("after %s: %v", k, err)
		}
	}
}
