package storagetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

func TestFaultyThatNeverFailsKeepsTheContract(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return &storagetest.Faulty{Bucket: mem.New(), At: -1} })
}

func TestFaults(t *testing.T) {
	for fault, want := range map[storagetest.Fault]string{
		storagetest.Lost: "old", storagetest.Late: "newer!", storagetest.Torn: "new",
	} {
		b := mem.New()
		f := &storagetest.Faulty{Bucket: b, At: 1, Fault: fault}
		if err := storage.WriteAll(t.Context(), f, "k", []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := storage.WriteAll(t.Context(), f, "k", []byte("newer!")); !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("%s: the failing Put = %v", fault, err)
		}
		_, listErr := f.List(t.Context(), "")
		_, getErr := f.Get(t.Context(), "k", 0, -1)
		for name, err := range map[string]error{
			"List": listErr, "Get": getErr, "Delete": f.Delete(t.Context(), "k"),
			"Put": storage.WriteAll(t.Context(), f, "x", nil),
		} {
			if !errors.Is(err, storagetest.ErrInjected) {
				t.Errorf("%s: %s after the fault = %v", fault, name, err)
			}
		}
		if got, err := storage.ReadAll(t.Context(), b, "k", 100); err != nil || string(got) != want {
			t.Errorf("%s: left %q, %v; want %q", fault, got, err, want)
		}
		if want := []string{"put k", "put k", "delete k", "put x"}; !slices.Equal(f.Log(), want) {
			t.Errorf("log %q, want %q", f.Log(), want)
		}
	}
}

func TestFaultyDelete(t *testing.T) {
	for _, fault := range storagetest.Faults() {
		b := mem.New()
		if err := storage.WriteAll(t.Context(), b, "k", nil); err != nil {
			t.Fatal(err)
		}
		f := &storagetest.Faulty{Bucket: b, Fault: fault}
		if err := f.Delete(t.Context(), "k"); !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("%s: %v", fault, err)
		}
		_, err := b.Get(t.Context(), "k", 0, -1)
		if gone := errors.Is(err, storage.ErrNotFound); gone != (fault == storagetest.Late) {
			t.Errorf("%s: deleted: %t", fault, gone)
		}
	}
}

// Example finds out what a writer of two objects leaves behind when it is killed at each of its operations.
func Example() {
	ctx := context.Background()
	for at := range 3 {
		b := mem.New()
		f := &storagetest.Faulty{Bucket: b, At: at, Fault: storagetest.Late}
		err := storage.WriteAll(ctx, f, "data", []byte("1"))
		if err == nil {
			err = storage.WriteAll(ctx, f, "manifest", []byte("2"))
		}
		objects, _ := b.List(ctx, "")
		fmt.Println(len(objects), err)
	}
	// Output:
	// 1 put mem:/data: injected fault
	// 2 put mem:/manifest: injected fault
	// 2 <nil>
}
