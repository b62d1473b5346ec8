package mem_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return mem.New() })
}

func TestKeyThatIsPathPrefixIsRefused(t *testing.T) {
	for _, keys := range [][2]string{{"a", "a/b"}, {"a/b/c", "a"}} {
		b := mem.New()
		if err := storage.WriteAll(t.Context(), b, keys[0], nil); err != nil {
			t.Fatal(err)
		}
		err := storage.WriteAll(t.Context(), b, keys[1], nil)
		if err == nil || !strings.Contains(err.Error(), keys[0]) {
			t.Errorf("Put(%q) after %q = %v, want an error that names both", keys[1], keys[0], err)
		}
	}
}

func Example() {
	ctx := context.Background()
	b := mem.New()
	if err := b.Put(ctx, "runs/a/note.txt", strings.NewReader("hello"), 5); err != nil {
		fmt.Println(err)
	}
	data, err := storage.ReadAll(ctx, b, "runs/a/note.txt", 100)
	fmt.Println(string(data), err)
	_, err = b.Get(ctx, "nothing", 0, -1)
	fmt.Println(err)
	// Output:
	// hello <nil>
	// get mem:/nothing: object not found
}
