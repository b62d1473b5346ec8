package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
)

func TestValidateKey(t *testing.T) {
	for key, ok := range map[string]bool{
		"a": true, "a/b": true, "a.b/.c/..d": true, "ünïcode and spaces": true, strings.Repeat("x", 240): true,
		"": false, "/": false, "a/": false, "/a": false, "a//b": false, ".": false, "..": false, "a/../b": false,
		"a/./b": false, "a\\b": false, "a\x7fb": false, "\xc3": false, strings.Repeat("x", 241): false,
		strings.Repeat("x/", 511) + "xx": true, strings.Repeat("x/", 511) + "xxx": false,
	} {
		if err := storage.ValidateKey(key); (err == nil) != ok || err != nil && !errors.Is(err, storage.ErrKey) {
			t.Errorf("ValidateKey(%q) = %v, want valid: %t", key, err, ok)
		}
	}
}

func TestValidatePrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"": true, "a": true, "a/": true, "a/b": true, ".": true, "a/..": true,
		"/": false, "a//": false, "../": false, "a/../": false, "./a": false, "\n": false,
	} {
		if err := storage.ValidatePrefix(prefix); (err == nil) != ok || err != nil && !errors.Is(err, storage.ErrKey) {
			t.Errorf("ValidatePrefix(%q) = %v, want valid: %t", prefix, err, ok)
		}
	}
}

func TestPrefixKeepsBucketsApart(t *testing.T) {
	b := mem.New()
	one, two := storage.Prefix(b, "runs/one"), storage.Prefix(storage.Prefix(b, "runs"), "two")
	for name, part := range map[string]storage.Bucket{"one": one, "two": two} {
		if err := storage.WriteAll(t.Context(), part, "k", []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := storage.ReadAll(t.Context(), b, "runs/two/k", 10); err != nil || string(data) != "two" {
		t.Errorf("runs/two/k = %q, %v", data, err)
	}
	if got, want := two.URL(), "mem:/runs/two"; got != want {
		t.Errorf("URL = %q, want %q", got, want)
	}
	if storage.Prefix(b, "") != storage.Bucket(b) {
		t.Error("an empty prefix wraps the bucket")
	}
	for _, key := range []string{"../two/k", "", "/k"} {
		if _, err := one.Get(t.Context(), key, 0, -1); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Get(%q) = %v, want ErrKey", key, err)
		}
	}
	for _, prefix := range []string{"..", "/a", "a/", "a//b"} {
		if err := storage.WriteAll(t.Context(), storage.Prefix(b, prefix), "k", nil); !errors.Is(err, storage.ErrKey) {
			t.Errorf("Put in Prefix(%q) = %v, want ErrKey", prefix, err)
		}
	}
}

func TestReadAllRefusesMoreThanTheLimit(t *testing.T) {
	b := mem.New()
	if err := storage.WriteAll(t.Context(), b, "k", []byte("12345")); err != nil {
		t.Fatal(err)
	}
	if data, err := storage.ReadAll(t.Context(), b, "k", 5); err != nil || len(data) != 5 {
		t.Errorf("at the limit: %d bytes, %v", len(data), err)
	}
	if _, err := storage.ReadAll(t.Context(), b, "k", 4); err == nil || !strings.Contains(err.Error(), "mem:/k") {
		t.Errorf("over the limit: %v, want an error that names the object", err)
	}
}

func FuzzValidateKey(f *testing.F) {
	for _, seed := range []string{"", "a/b", "../x", "a\\b", "a/./b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if storage.ValidateKey(key) != nil {
			return
		}
		for i := range len(key) {
			// Every beginning of a valid key is a valid prefix, but for one in the middle of a character.
			if err := storage.ValidatePrefix(strings.ToValidUTF8(key[:i], "")); err != nil {
				t.Errorf("key %q is valid, its prefix is not: %v", key, err)
			}
		}
	})
}

func ExamplePrefix() {
	ctx := context.Background()
	b := mem.New()
	run := storage.Prefix(b, "runs/one")
	if err := storage.WriteAll(ctx, run, "manifest.json", []byte("{}")); err != nil {
		fmt.Println(err)
	}
	objects, err := b.List(ctx, "runs/")
	fmt.Println(objects[0].Key, err)
	// Output: runs/one/manifest.json <nil>
}
