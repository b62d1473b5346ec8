package teachercache_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pupil/augment"
	"pupil/storage/diskcache"
	"pupil/worker/feed"
	"pupil/worker/teachercache"
)

var shape = teachercache.Shape{Images: 2, Pooled: 3, Logits: 1}

var outputs = feed.Outputs{Pooled: []float32{1, -2, 3, 1e-40, 5, 6}, Logits: []float32{7, 8}}

func open(t testing.TB, folder string, id teachercache.Identity, s teachercache.Shape) *teachercache.Cache {
	t.Helper()
	c, err := teachercache.New(diskcache.New(folder, 1<<20, nil), id, s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func entries(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*.piece"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatWasStoredComesBack(t *testing.T) {
	folder := t.TempDir()
	c := open(t, folder, teachercache.Identity{Seed: 1}, shape)
	if _, ok := c.Load(3, 1); ok {
		t.Error("an empty cache has an entry")
	}
	c.Store(t.Context(), 3, 1, outputs)
	c.Store(t.Context(), 4, 1, feed.Outputs{Pooled: outputs.Pooled}) // of another shape
	other := open(t, folder, teachercache.Identity{Seed: 1}, shape)  // another process
	got, ok := other.Load(3, 1)
	if !ok || !slices.Equal(got.Pooled, outputs.Pooled) || !slices.Equal(got.Logits, outputs.Logits) {
		t.Errorf("Load = %v, %t", got, ok)
	}
	for _, at := range [][2]int{{1, 3}, {3, 0}, {4, 1}} {
		if got, ok := other.Load(at[0], at[1]); ok {
			t.Errorf("step %d, lane %d: %v came from nowhere", at[0], at[1], got)
		}
	}
	if hits, misses := other.Counts(); hits != 1 || misses != 3 {
		t.Errorf("%d hits and %d misses, want 1 and 3", hits, misses)
	}
}

// TestEveryPartOfTheIdentityCounts changes each field in turn: what another teacher made, or of other views, is not found.
func TestEveryPartOfTheIdentityCounts(t *testing.T) {
	folder := t.TempDir()
	open(t, folder, teachercache.Identity{}, shape).Store(t.Context(), 0, 0, outputs)
	if _, ok := open(t, folder, teachercache.Identity{}, shape).Load(0, 0); !ok {
		t.Fatal("the entry is not there")
	}
	kind := reflect.TypeFor[teachercache.Identity]()
	for i := range kind.NumField() {
		var id teachercache.Identity
		switch field := reflect.ValueOf(&id).Elem().Field(i); v := field.Addr().Interface().(type) {
		case *string:
			*v = "other"
		case *bool:
			*v = true
		case *int:
			*v = 1
		case *uint64:
			*v = 1<<63 + 1
		case *[3]uint8:
			v[2] = 1
		case *augment.Config:
			v.Occlude.Value = 1e-9
		default:
			t.Fatalf("the test knows no other %s", field.Type())
		}
		if _, ok := open(t, folder, id, shape).Load(0, 0); ok {
			t.Errorf("another %s: the same entry", kind.Field(i).Name)
		}
	}
}

// TestDamage changes each byte of an entry, cuts it, and puts it in another's place: it is dropped and not used.
func TestDamage(t *testing.T) {
	folder := t.TempDir()
	c := open(t, folder, teachercache.Identity{}, shape)
	c.Store(t.Context(), 0, 0, outputs)
	path := entries(t, folder)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{"empty": {}, "cut": whole[:len(whole)-1]}
	for i := range whole {
		x := slices.Clone(whole)
		x[i] ^= 0x10
		damaged[fmt.Sprint("byte ", i)] = x
	}
	c.Store(t.Context(), 0, 1, outputs)
	for _, e := range entries(t, folder) {
		if e != path {
			if damaged["of another lane"], err = os.ReadFile(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, data := range damaged {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Load(0, 0); ok {
			t.Errorf("%s: %v was used", name, got)
		}
		c.Store(t.Context(), 0, 0, outputs) // as the caller does
		if got, ok := c.Load(0, 0); !ok || !slices.Equal(got.Pooled, outputs.Pooled) {
			t.Errorf("%s: afterwards %v, %t", name, got, ok)
		}
	}
}

func Example() {
	folder, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
	}
	defer os.RemoveAll(folder)
	c, err := teachercache.New(diskcache.New(folder, 1<<20, nil), teachercache.Identity{Seed: 1},
		teachercache.Shape{Images: 1, Pooled: 2})
	if err != nil {
		fmt.Println(err)
	}
	c.Store(context.Background(), 0, 3, feed.Outputs{Pooled: []float32{0.5, 2}})
	found, ok := c.Load(0, 3)
	fmt.Println(found.Pooled, ok)
	// Output: [0.5 2] true
}
