package location_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/location"
)

func TestOpenFolder(t *testing.T) {
	for _, name := range []string{"plain", "with space & 100% #1?"} {
		path := filepath.Join(t.TempDir(), name)
		address, err := location.FromPath(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := location.Open(t.Context(), address)
		if err != nil {
			t.Fatalf("Open(%q): %v", address, err)
		}
		if err := storage.WriteAll(t.Context(), b, "k", []byte("x")); err != nil {
			t.Fatal(err)
		}
		again, err := location.Open(t.Context(), b.URL())
		if err != nil {
			t.Fatal(err)
		}
		if data, err := storage.ReadAll(t.Context(), again, "k", 10); err != nil || string(data) != "x" {
			t.Errorf("the bucket's own URL %q opens another: %q, %v", b.URL(), data, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for address, want := range map[string]string{
		"":                     "file:///absolute/path",
		"data/train":           "file:///absolute/path",
		"/data/train":          "file:///absolute/path",
		"file:data/train":      "not absolute",
		"file://data/train":    "three slashes",
		"file:///data?x=1":     "%3F",
		"file:///data#x":       "%23",
		"gopher://bucket/path": "supported: file:///",
		"file:///%zz":          "invalid URL escape",
	} {
		_, err := location.Open(t.Context(), address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want an error with %q", address, err, want)
		}
	}
	if _, err := location.Open(t.Context(), "gopher://x"); !errors.Is(err, location.ErrScheme) {
		t.Errorf("an unknown scheme gives %v, want ErrScheme", err)
	}
}

func TestFromPathKeepsURLs(t *testing.T) {
	for _, address := range []string{"file:///data", "other://bucket/path"} {
		if got, err := location.FromPath(address); err != nil || got != address {
			t.Errorf("FromPath(%q) = %q, %v", address, got, err)
		}
	}
	got, err := location.FromPath("relative")
	if err != nil || !strings.HasPrefix(got, "file:///") || !strings.HasSuffix(got, "/relative") {
		t.Errorf("FromPath(relative) = %q, %v", got, err)
	}
	if _, err := location.FromPath(""); err == nil {
		t.Error("an empty path gave no error")
	}
}

func Example() {
	_, err := location.Open(context.Background(), "ftp://host/data")
	fmt.Println(err)
	// Output: open storage "ftp://host/data": unsupported kind of storage "ftp://"; supported: file:///absolute/path
}
