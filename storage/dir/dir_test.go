package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/storage"
	"pupil/storage/dir"
	"pupil/storage/storagetest"
)

func open(t *testing.T) (*dir.Bucket, string) {
	t.Helper()
	root := t.TempDir()
	b, err := dir.New(root)
	if err != nil {
		t.Fatal(err)
	}
	return b, root
}

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Bucket { b, _ := open(t); return b })
}

// files returns all files and folders below a folder.
func files(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if path != root {
			out = append(out, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayoutIsPlain(t *testing.T) {
	b, root := open(t)
	for _, key := range []string{"a/b/c.json", "a/d"} {
		if err := storage.WriteAll(t.Context(), b, key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := files(t, root), []string{"a", "a/b", "a/b/c.json", "a/d"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if err := b.Delete(t.Context(), "a/b/c.json"); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, root), []string{"a", "a/d"}; !slices.Equal(got, want) {
		t.Errorf("after Delete %q, want %q: empty folders go", got, want)
	}
}

// TestWhileWriting looks at the folder in the middle of a Put, where a killed process would leave it.
func TestWhileWriting(t *testing.T) {
	b, root := open(t)
	if err := storage.WriteAll(t.Context(), b, "f/k", []byte("old")); err != nil {
		t.Fatal(err)
	}
	var during []string
	body := io.MultiReader(strings.NewReader("ne"), look(func() {
		during = files(t, root)
		objects, err := b.List(t.Context(), "")
		if err != nil || len(objects) != 1 || objects[0].Key != "f/k" || objects[0].Size != 3 {
			t.Errorf("List during a Put = %v, %v; want the old object alone", objects, err)
		}
	}), strings.NewReader("w!"))
	if err := b.Put(t.Context(), "f/k", body, 4); err != nil {
		t.Fatal(err)
	}
	if len(during) != 3 {
		t.Errorf("files during a Put: %q, want the folder, the object and one temporary file", during)
	}
	if got, want := files(t, root), []string{"f", "f/k"}; !slices.Equal(got, want) {
		t.Errorf("files after the Put: %q, want %q", got, want)
	}
}

// look is a reader that calls a function, then ends.
type look func()

func (f look) Read([]byte) (int, error) { f(); return 0, io.EOF }

func TestFailedPutLeavesNothing(t *testing.T) {
	b, root := open(t)
	if err := b.Put(t.Context(), "k", strings.NewReader("short"), 10); err == nil {
		t.Fatal("Put of a short body gave no error")
	}
	if got := files(t, root); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestListRemovesAbandonedFiles(t *testing.T) {
	b, root := open(t)
	stale, fresh := filepath.Join(root, "f", ".pupil-tmp-STALE"), filepath.Join(root, "f", ".pupil-tmp-FRESH")
	if err := os.Mkdir(filepath.Join(root, "f"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stale, fresh} {
		if err := os.WriteFile(path, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	if objects, err := b.List(t.Context(), ""); err != nil || len(objects) != 0 {
		t.Errorf("List = %v, %v; temporary files must not show", objects, err)
	}
	if got, want := files(t, root), []string{"f", "f/.pupil-tmp-FRESH"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q: a file that may still be written stays", got, want)
	}
}

func TestReservedNames(t *testing.T) {
	b, _ := open(t)
	for _, key := range []string{".pupil-tmp-x", "a/.pupil-tmp-x", ".pupil-tmp-x/a"} {
		if err := storage.WriteAll(t.Context(), b, key, nil); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Put(%q) = %v, want ErrKey", key, err)
		}
	}
}

func TestKeyThatIsPathPrefixIsRefused(t *testing.T) {
	for _, keys := range [][2]string{{"a", "a/b"}, {"a", "a/b/c"}, {"a/b/c", "a"}, {"a/b/c", "a/b"}} {
		b, root := open(t)
		if err := storage.WriteAll(t.Context(), b, keys[0], []byte("kept")); err != nil {
			t.Fatal(err)
		}
		before := files(t, root)
		err := storage.WriteAll(t.Context(), b, keys[1], nil)
		if err == nil || !strings.Contains(err.Error(), "path prefix") {
			t.Errorf("Put(%q) after %q = %v, want an error", keys[1], keys[0], err)
		}
		if after := files(t, root); !slices.Equal(before, after) {
			t.Errorf("files before %q, after %q", before, after)
		}
	}
}

func TestEmptyFolderInTheWay(t *testing.T) {
	b, root := open(t)
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(t.Context(), b, "a/b", []byte("x")); err != nil {
		t.Errorf("Put over an empty folder: %v", err)
	}
}

func TestFolderIsMadeByTheFirstPut(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not", "yet")
	b, err := dir.New(root)
	if err != nil {
		t.Fatal(err)
	}
	if objects, err := b.List(t.Context(), ""); err != nil || len(objects) != 0 {
		t.Errorf("List = %v, %v", objects, err)
	}
	if _, err := b.Get(t.Context(), "k", 0, -1); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made the folder")
	}
	if err := storage.WriteAll(t.Context(), b, "k", nil); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, ""} {
		if _, err := dir.New(path); err == nil {
			t.Errorf("New(%q) gave no error", path)
		}
	}
}

func TestSymbolicLinks(t *testing.T) {
	b, root := open(t)
	elsewhere := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(elsewhere, []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"good": elsewhere, "broken": elsewhere + "-gone"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := b.List(t.Context(), "")
	if err != nil || len(objects) != 1 || objects[0].Key != "good" || objects[0].Size != 4 {
		t.Errorf("List = %v, %v", objects, err)
	}
	if got, err := storage.ReadAll(t.Context(), b, "good", 10); err != nil || string(got) != "data" {
		t.Errorf("Get = %q, %v", got, err)
	}
}

func Example() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	b, err := dir.New(folder)
	if err != nil {
		fmt.Println(err)
	}
	if err := b.Put(ctx, "runs/a/note.txt", strings.NewReader("hello"), 5); err != nil {
		fmt.Println(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "runs", "a", "note.txt"))
	fmt.Println(string(data), err)
	// Output: hello <nil>
}
