package images_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/location"
	"pupil/worker/student/images"
)

// tree writes files whose content is their name, and returns the folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		full := filepath.Join(root, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// read lists a set's images as "class: content".
func read(t *testing.T, s *images.Set) []string {
	t.Helper()
	var got []string
	for item, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := item.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		class := ""
		if item.Label >= 0 {
			class = s.Classes[item.Label] + ": "
		}
		got = append(got, class+string(data))
	}
	return got
}

func open(t *testing.T, stdin io.Reader, args ...string) *images.Set {
	t.Helper()
	s, err := images.Open(t.Context(), args, stdin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlaces(t *testing.T) {
	flat := tree(t, "b.jpg", "a.PNG", "notes.txt", ".hidden.png", "c.webp")
	nested := tree(t, "dog/2.png", "cat/10.png", "cat/1.png", "cat-big/x/1.png")
	mixed := tree(t, "dog/2.png", "top.png")
	url := func(folder string) string {
		u, err := location.FromPath(folder)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	classes := []string{"cat: cat/1.png", "cat: cat/10.png", "cat-big: cat-big/x/1.png", "dog: dog/2.png"}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"file":              {[]string{flat + "/b.jpg"}, []string{"b.jpg"}},
		"file of any name":  {[]string{flat + "/notes.txt"}, []string{"notes.txt"}},
		"folder":            {[]string{flat}, []string{"a.PNG", "b.jpg", "c.webp"}},
		"glob":              {[]string{flat + "/[bc].*"}, []string{"b.jpg", "c.webp"}},
		"classes":           {[]string{nested}, classes},
		"no classes":        {[]string{mixed}, []string{"dog/2.png", "top.png"}},
		"folder's URL":      {[]string{url(nested)}, classes},
		"object":            {[]string{url(nested) + "/cat/10.png"}, []string{"cat/10.png"}},
		"several":           {[]string{flat + "/b.jpg", flat + "/a.PNG"}, []string{"b.jpg", "a.PNG"}},
		"classes in common": {[]string{nested + "/dog/2.png", nested, nested}, append(append([]string{"dog/2.png"}, classes...), classes...)},
	} {
		s := open(t, nil, c.args...)
		if got := read(t, s); !slices.Equal(got, c.want) || s.Count != len(c.want) {
			t.Errorf("%s: %d images %q, want %q", name, s.Count, got, c.want)
		}
	}
	if s := open(t, nil, nested, nested); !slices.Equal(s.Classes, []string{"cat", "cat-big", "dog"}) {
		t.Errorf("classes %q", s.Classes)
	}
}

func TestAs(t *testing.T) {
	s := images.FromItems([]string{"a", "b", "c"}, images.Of("1", 0, []byte("1")), images.Of("2", 2, []byte("2")), images.Of("3", 1, []byte("3")),
		images.Of("4", -1, []byte("4")))
	other := s.As([]string{"c", "a"})
	if got := read(t, other); !slices.Equal(got, []string{"a: 1", "c: 2", "3", "4"}) || other.Count != 4 {
		t.Errorf("got %q", got)
	}
	if got := read(t, s); !slices.Equal(got, []string{"a: 1", "c: 2", "b: 3", "4"}) {
		t.Errorf("the set itself is now %q", got)
	}
}

func TestDataset(t *testing.T) {
	const folder = "../../../deploy/examples/fashion-mnist/test"
	s := open(t, nil, folder)
	if s.Count != 1000 || len(s.Classes) != 10 {
		t.Errorf("%d images of %d classes", s.Count, len(s.Classes))
	}
	first := read(t, s)[0]
	abs, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, open(t, nil, "file://"+abs))[0]; got != first {
		t.Error("another first image by URL")
	}
	b, err := location.Open(t.Context(), "file://"+abs)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	few := images.FromDataset(d, 10)
	if got := read(t, few); len(got) != 10 || few.Count != 10 || got[0] != first {
		t.Errorf("a limit of 10 gives %d images", len(got))
	}
}

// tarOf is a tar file of files whose content is their name.
func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(n))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStreams(t *testing.T) {
	all := tarOf(t, "x/1.png", "readme.txt", "2.jpg")
	want := []string{"x/1.png", "2.jpg"}
	for name, data := range map[string][]byte{"tar": all, "tar.gz": zipped(t, all)} {
		s := open(t, bytes.NewReader(data), "-")
		if got := read(t, s); !slices.Equal(got, want) || s.Count != -1 {
			t.Errorf("%s on standard input: %d images %q", name, s.Count, got)
		}
		file := filepath.Join(t.TempDir(), "all."+name)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := read(t, open(t, nil, file)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
		if got := read(t, open(t, nil, "file://"+file)); !slices.Equal(got, want) {
			t.Errorf("%s by URL: %q", name, got)
		}
	}
	if got := read(t, open(t, strings.NewReader("one image"), "-")); !slices.Equal(got, []string{"one image"}) {
		t.Errorf("one image on standard input: %q", got)
	}
}

func TestRefuses(t *testing.T) {
	empty := tree(t, "notes.txt")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":       {nil, "no argument"},
		"missing":       {[]string{empty + "/cat.jpg"}, "cat.jpg"},
		"empty folder":  {[]string{empty}, "no images below"},
		"empty URL":     {[]string{"file://" + empty}, "no images below"},
		"glob":          {[]string{empty + "/*.png"}, "no file matches"},
		"broken glob":   {[]string{empty + "/[.png"}, "syntax error"},
		"empty stdin":   {[]string{"-"}, "standard input is empty"},
		"stdin twice":   {[]string{"-", "-"}, "twice"},
		"other storage": {[]string{"gopher://hole/x.png"}, "gopher"},
	} {
		if _, err := images.Open(t.Context(), c.args, strings.NewReader("")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// What is wrong only when it is read ends the images with an error.
func TestReadErrors(t *testing.T) {
	whole := tarOf(t, "1.png", "2.png")
	missing := "file://" + filepath.ToSlash(tree(t, "x.png")) + "/y.png"
	for name, c := range map[string]struct {
		set  *images.Set
		want error
	}{
		"cut tar":       {open(t, bytes.NewReader(whole[:1100]), "-"), io.ErrUnexpectedEOF},
		"no image":      {open(t, bytes.NewReader(tarOf(t, "a.txt")), "-"), images.ErrNone},
		"no object":     {open(t, nil, missing), storage.ErrNotFound},
		"cut gzip":      {open(t, bytes.NewReader(zipped(t, whole)[:40]), "-"), io.ErrUnexpectedEOF},
		"ended context": {images.FromItems(nil, images.Of("x", -1, nil)), context.Canceled},
		"vanished file": {vanished(t), os.ErrNotExist},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if name == "ended context" {
			cancel()
		}
		var failure error
		for item, err := range c.set.All(ctx) {
			if err == nil {
				_, err = item.Read(ctx)
			}
			failure = err
		}
		cancel()
		if !errors.Is(failure, c.want) {
			t.Errorf("%s: got %v, want %v", name, failure, c.want)
		}
	}
}

// vanished is a file that is gone when it is read.
func vanished(t *testing.T) *images.Set {
	t.Helper()
	root := tree(t, "x.png")
	s := open(t, nil, root)
	if err := os.Remove(filepath.Join(root, "x.png")); err != nil {
		t.Fatal(err)
	}
	return s
}
