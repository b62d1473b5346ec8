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

func TestSplit(t *testing.T) {
	for address, want := range map[string][2]string{
		"s3://b/p/x.png":                         {"s3://b/p", "x.png"},
		"s3://b/x":                               {"s3://b", "x"},
		"s3://b/p/x%20y?endpoint=http://h:1&ca=": {"s3://b/p?endpoint=http://h:1&ca=", "x y"},
		"s3://b":                                 {"s3://b", ""},
		"s3://b/p/":                              {"s3://b/p", ""},
		"file:///x":                              {"file:///", "x"},
		"file:///a%20b/[x]":                      {"file:///a%20b/", "[x]"},
	} {
		if b, key, err := location.Split(address); err != nil || b != want[0] || key != want[1] {
			t.Errorf("Split(%q) = %q, %q, %v, want %q", address, b, key, err, want)
		}
	}
	if _, _, err := location.Split("s3://key:hunter2%zz@bucket/x"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
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
		"s3:///prefix":         "names no bucket",
		"s3://b?colour=red":    `unknown parameter "colour"`,
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

// TestSecretsAreNotShown writes secrets where they do not belong, and looks for them in the errors.
func TestSecretsAreNotShown(t *testing.T) {
	for _, address := range []string{
		"s3://key:hunter2@bucket/prefix", "s3://bucket?secret_key=hunter2&region=x", "s3://bucket?endpoint=http://a:hunter2@host",
		"gopher://a:hunter2@host/", "s3://key:hun%ter2@bucket", "s3://key:hunter2%zz@bucket", "s3://bucket?%zz&secret=hunter2",
	} {
		_, err := location.Open(t.Context(), address)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun%ter") {
			t.Errorf("Open(%q) = %v", address, err)
		}
	}
	for address, want := range map[string]string{
		"s3://b/p?region=x&token=t": "s3://b/p?region=x&token=(hidden)", "s3://u:p@b": "s3://(hidden)@b", "file:///a b": "file:///a b",
	} {
		if got := location.Redact(address); got != want {
			t.Errorf("Redact(%q) = %q, want %q", address, got, want)
		}
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
	// Output: open storage "ftp://host/data": unsupported kind of storage "ftp://"; supported: file:///absolute/path, s3://bucket/prefix
}

func TestJoin(t *testing.T) {
	for address, want := range map[string]string{
		"file:///a/b":                       "file:///a/b/run",
		"file:///a/b/":                      "file:///a/b/run",
		"file:///a%20b":                     "file:///a%20b/run",
		"s3://bucket":                       "s3://bucket/run",
		"s3://bucket/p?endpoint=http://h:1": "s3://bucket/p/run?endpoint=http://h:1",
	} {
		if got, err := location.Join(address, "run"); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
	if _, err := location.Join("s3://bucket/\x7f", "run"); err == nil {
		t.Error("a URL that cannot be read")
	}
}
