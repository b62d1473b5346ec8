package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pupil/storage"
)

// Run checks that the buckets which open returns keep the contract. Each call of open gives an empty bucket.
func Run(t *testing.T, open func(t *testing.T) storage.Bucket) {
	tests := []struct {
		name string
		test func(*testing.T, storage.Bucket)
	}{
		{"put and get", putGet},
		{"ranges", ranges},
		{"missing key", missingKey},
		{"replace", replace},
		{"list", list},
		{"delete", remove},
		{"invalid keys", invalidKeys},
		{"sizes that do not fit", wrongSizes},
		{"body that fails", failingBody},
		{"canceled context", canceled},
		{"reader survives replacement", readerSurvives},
		{"concurrent use", concurrent},
		{"create", create},
		{"errors tell operation, place and key", errorText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
		t.Run("prefix/"+tt.name, func(t *testing.T) { tt.test(t, storage.Prefix(open(t), "some/prefix")) })
	}
}

func putGet(t *testing.T, b storage.Bucket) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for key, data := range map[string][]byte{
		"empty": {}, "a": []byte("one"), "deep/er/still/b.json": []byte("{}"), "large": large,
		"names with spaces, ünïcode & 100%/#?*": []byte("x"), "..hidden/.file...": []byte("dots"),
	} {
		put(t, b, key, data)
		if got := get(t, b, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get(%q) gives %d bytes, want the %d that were put", key, len(got), len(data))
		}
	}
	if err := b.Put(t.Context(), "unknown", iotest.OneByteReader(strings.NewReader("size")), -1); err != nil {
		t.Fatalf("Put with unknown size: %v", err)
	}
	if got := get(t, b, "unknown", 0, -1); string(got) != "size" {
		t.Errorf("Get after a Put with unknown size = %q", got)
	}
}

func ranges(t *testing.T, b storage.Bucket) {
	put(t, b, "k", []byte("0123456789"))
	for _, tt := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"},
		{0, 0, ""},
		{0, 3, "012"},
		{4, 2, "45"},
		{4, -1, "456789"},
		{8, 5, "89"},
		{10, -1, ""},
		{10, 4, ""},
	} {
		if got := get(t, b, "k", tt.offset, tt.length); string(got) != tt.want {
			t.Errorf("Get(%d, %d) = %q, want %q", tt.offset, tt.length, got, tt.want)
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -2}, {11, -1}, {11, 0}} {
		if r, err := b.Get(t.Context(), "k", bad[0], bad[1]); err == nil {
			r.Close()
			t.Errorf("Get(%d, %d) of 10 bytes gave no error", bad[0], bad[1])
		} else if bad[0] > 10 && !errors.Is(err, storage.ErrSize) {
			t.Errorf("Get(%d, %d) of 10 bytes = %v, want ErrSize", bad[0], bad[1], err)
		}
	}
}

func missingKey(t *testing.T, b storage.Bucket) {
	put(t, b, "folder/k", []byte("x"))
	for _, key := range []string{"nothing", "folder", "folder/other", "folder/k/below"} {
		if _, err := b.Get(t.Context(), key, 0, -1); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want ErrNotFound", key, err)
		}
	}
}

func replace(t *testing.T, b storage.Bucket) {
	for _, text := range []string{"first, and long", "second", ""} {
		put(t, b, "k", []byte(text))
		if got := get(t, b, "k", 0, -1); string(got) != text {
			t.Errorf("Get = %q, want %q", got, text)
		}
	}
	expect(t, b, "", "k")
}

func list(t *testing.T, b storage.Bucket) {
	expect(t, b, "") // an empty bucket
	keys := []string{"a.b", "a/b/c", "a/c", "ab/d", "b"}
	for _, key := range slices.Backward(keys) {
		put(t, b, key, []byte(key))
	}
	objects, err := b.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Size != int64(len(o.Key)) || o.Modified.IsZero() || time.Since(o.Modified).Abs() > time.Hour {
			t.Errorf("List gives %+v, want size %d and the time of the Put", o, len(o.Key))
		}
	}
	for prefix, want := range map[string][]string{
		"": keys, "a": keys[:4], "a/": keys[1:3], "a/b": keys[1:2], "a/b/": keys[1:2], "a/b/c": keys[1:2], "a/b/c/": nil,
		"ab": keys[3:4], "c": nil, "none/such": nil, ".": nil, "b": keys[4:],
	} {
		expect(t, b, prefix, want...)
	}
}

func remove(t *testing.T, b storage.Bucket) {
	put(t, b, "a/b/c", []byte("x"))
	put(t, b, "a/d", []byte("y"))
	for _, key := range []string{"nothing", "a", "a/b", "a/b/c/below", "a/b/c", "a/b/c"} {
		if err := b.Delete(t.Context(), key); err != nil {
			t.Fatalf("Delete(%q): %v", key, err)
		}
	}
	expect(t, b, "", "a/d")
	put(t, b, "a/b", []byte("z")) // nothing is left of the folder that the key once was in
	expect(t, b, "", "a/b", "a/d")
}

func invalidKeys(t *testing.T, b storage.Bucket) {
	long := strings.Repeat("x", 241)
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a\\b", "a\x00b", "a\nb", "\xff", long,
		strings.Repeat("x/", 512) + "x",
	} {
		_, getErr := b.Get(t.Context(), key, 0, -1)
		for name, err := range map[string]error{
			"Get":    getErr,
			"Put":    b.Put(t.Context(), key, strings.NewReader("x"), 1),
			"Delete": b.Delete(t.Context(), key),
		} {
			if !errors.Is(err, storage.ErrKey) {
				t.Errorf("%s(%q) = %v, want ErrKey", name, key, err)
			}
		}
	}
	for _, prefix := range []string{"/", "../", "a//", "a/../b", "\x00"} {
		if _, err := b.List(t.Context(), prefix); !errors.Is(err, storage.ErrKey) {
			t.Errorf("List(%q) = %v, want ErrKey", prefix, err)
		}
	}
	expect(t, b, "")
}

func wrongSizes(t *testing.T, b storage.Bucket) {
	put(t, b, "old", []byte("old"))
	for _, size := range []int64{0, 1, 4, 6, 1 << 40, -2} {
		for _, key := range []string{"old", "new"} {
			if err := b.Put(t.Context(), key, strings.NewReader("12345"), size); err == nil {
				t.Errorf("Put of 5 bytes announced as %d gave no error", size)
			}
		}
	}
	expect(t, b, "", "old")
	if got := get(t, b, "old", 0, -1); string(got) != "old" {
		t.Errorf("a failed Put changed the object to %q", got)
	}
}

func failingBody(t *testing.T, b storage.Bucket) {
	put(t, b, "old", []byte("old"))
	broken := errors.New("the source is gone")
	for _, size := range []int64{-1, 100} {
		for _, key := range []string{"old", "folder/new"} {
			body := io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken))
			if err := b.Put(t.Context(), key, body, size); !errors.Is(err, broken) {
				t.Errorf("Put = %v, want the body's error", err)
			}
		}
	}
	expect(t, b, "", "old")
	if got := get(t, b, "old", 0, -1); string(got) != "old" {
		t.Errorf("a failed Put changed the object to %q", got)
	}
}

func canceled(t *testing.T, b storage.Bucket) {
	put(t, b, "k", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := b.Get(ctx, "k", 0, -1)
	_, listErr := b.List(ctx, "")
	for name, err := range map[string]error{
		"Get": getErr, "List": listErr, "Put": b.Put(ctx, "k", strings.NewReader("y"), 1), "Delete": b.Delete(ctx, "k"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want context.Canceled", name, err)
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	body := io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }))
	if err := b.Put(ctx, "k", body, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("Put whose context ends while it reads = %v, want context.Canceled", err)
	}
	if got := get(t, b, "k", 0, -1); string(got) != "x" {
		t.Errorf("a canceled Put or Delete left %q", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func readerSurvives(t *testing.T, b storage.Bucket) {
	old := bytes.Repeat([]byte("old "), 1<<16)
	for name, change := range map[string]func() error{
		"replaced": func() error { return storage.WriteAll(t.Context(), b, "k", []byte("new")) },
		"deleted":  func() error { return b.Delete(t.Context(), "k") },
	} {
		put(t, b, "k", old)
		r, err := b.Get(t.Context(), "k", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, old) {
			t.Errorf("reader of an object that was %s gives %d bytes, %v; want the old %d", name, len(got), err, len(old))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// concurrent has writers replace an object while readers and lists look: all must see it whole.
func concurrent(t *testing.T, b storage.Bucket) {
	const writers, rounds = 4, 8
	value := func(w int) []byte { return bytes.Repeat([]byte{byte('a' + w)}, 1000*(w+1)) }
	put(t, b, "folder/k", value(0))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				own := fmt.Sprintf("own/%d/%d", w, i)
				if err := storage.WriteAll(t.Context(), b, "folder/k", value(w)); err != nil {
					t.Error(err)
				}
				if err := storage.WriteAll(t.Context(), b, own, value(w)); err != nil {
					t.Error(err)
				}
				if err := b.Delete(t.Context(), own); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range rounds {
				got, err := storage.ReadAll(t.Context(), b, "folder/k", 1<<20)
				if err != nil || len(got)%1000 != 0 || !bytes.Equal(got, value(len(got)/1000-1)) {
					t.Errorf("a reader saw %d bytes, %v", len(got), err)
				}
				objects, err := b.List(t.Context(), "folder")
				if err != nil || len(objects) != 1 || objects[0].Size%1000 != 0 {
					t.Errorf("List gave %v, %v", objects, err)
				}
			}
		})
	}
	wg.Wait()
	expect(t, b, "", "folder/k")
}

func errorText(t *testing.T, b storage.Bucket) {
	_, err := b.Get(t.Context(), "some/key", 0, -1)
	if err == nil {
		t.Fatal("Get of a missing key gave no error")
	}
	for _, part := range []string{"get", b.URL(), "some/key"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not contain %q", err, part)
		}
	}
}

func put(t *testing.T, b storage.Bucket, key string, data []byte) {
	t.Helper()
	if err := storage.WriteAll(t.Context(), b, key, data); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, b storage.Bucket, key string, offset, length int64) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// expect checks that List gives exactly these keys, sorted.
func expect(t *testing.T, b storage.Bucket, prefix string, want ...string) {
	t.Helper()
	objects, err := b.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List(%q) = %q, want %q", prefix, got, want)
	}
}
