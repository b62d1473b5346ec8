package dataset_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pupil/storage/dataset"
	"pupil/storage/dir"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestImportResumes cuts an import at every Put and Delete, in every way, and calls it again: the bytes are those of an import
// that was not cut, and whole shards are not made again.
func TestImportResumes(t *testing.T) {
	root := t.TempDir()
	for i := range 11 {
		file(t, filepath.Join(root, []string{"a", "b"}[i%2], fmt.Sprintf("%d.png", i)), grey(t, i+1, uint8(i)))
	}
	file(t, filepath.Join(root, "a", "broken.png"), []byte("broken"))
	s, err := dataset.OpenSource(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	o := dataset.ImportOptions{ShardSize: 3, KeepGoing: true}
	whole := mem.New()
	_, wantRefused, err := dataset.Import(t.Context(), whole, s, o)
	if err != nil || len(wantRefused) != 1 {
		t.Fatal(wantRefused, err)
	}
	want := content(t, whole)
	resumed := 0
	for _, fault := range []storagetest.Fault{storagetest.Lost, storagetest.Late} {
		for k, done := 0, false; !done; k++ {
			b := mem.New()
			faulty := &storagetest.Faulty{Bucket: b, At: k, Fault: fault}
			_, _, err := dataset.Import(t.Context(), faulty, s, o)
			done = len(faulty.Log()) <= k
			if done != (err == nil) {
				t.Fatalf("fault at %d: %v", k, err)
			}
			if content(t, b)["manifest.json"] != nil {
				if _, _, err := dataset.Import(t.Context(), b, s, o); err == nil {
					t.Error("a second import into a whole dataset gave no error")
				}
				if err := readAll(t, b); err != nil {
					t.Errorf("%s at %d: %v", fault, k, err)
				}
				continue
			}
			again := &storagetest.Faulty{Bucket: b, At: -1}
			_, refused, err := dataset.Import(t.Context(), again, s, o)
			if err != nil || !reflect.DeepEqual(content(t, b), want) || !reflect.DeepEqual(refused, wantRefused) {
				t.Errorf("%s at %d: the second import gives other bytes, or refuses %v, %v", fault, k, refused, err)
			}
			if !slices.Contains(again.Log(), "put shard-00000.tar") {
				resumed++
			}
		}
	}
	if resumed < 10 {
		t.Errorf("only %d imports went on where they were", resumed)
	}
}

// TestImportOfAnotherSourceBeginsAnew interrupts an import and calls it with other options: nothing of the first stays.
func TestImportOfAnotherSourceBeginsAnew(t *testing.T) {
	root := t.TempDir()
	for i := range 9 {
		file(t, filepath.Join(root, fmt.Sprintf("%d.png", i)), grey(t, i+1, uint8(i)))
	}
	s, err := dataset.OpenSource(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := mem.New()
	cut := &storagetest.Faulty{Bucket: b, At: 7}
	if _, _, err := dataset.Import(t.Context(), cut, s, dataset.ImportOptions{ShardSize: 2}); !errors.Is(err, storagetest.ErrInjected) {
		t.Fatal(err)
	}
	clean := mem.New()
	for _, x := range []*mem.Bucket{b, clean} {
		if _, _, err := dataset.Import(t.Context(), x, s, dataset.ImportOptions{ShardSize: 4}); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(content(t, b), content(t, clean)) {
		t.Error("something of the first import is left")
	}
}

// archive is a tar file.
func archive(t *testing.T, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		data := entries[i+1].([]byte)
		if err := w.WriteHeader(&tar.Header{Name: entries[i].(string), Size: int64(len(data)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImportTar(t *testing.T) {
	img := func(i int) []byte { return grey(t, i+1, uint8(i)) }
	text := func(s string) []byte { return []byte(s) }
	for name, tt := range map[string]struct {
		tars    map[string][]byte
		classes []string
		want    []string // images, or an error
	}{
		"numbers": {
			map[string][]byte{"a.tar": archive(t, "0.jpg", img(0), "0.cls", text("1\n"), "1.cls", text("0"), "1.png", img(1), "1.json", text("{}"))},
			nil,
			[]string{"0/1.png", "1/0.jpg"},
		},
		"numbers with names": {
			map[string][]byte{"a.tar": archive(t, "x/0.jpg", img(0), "x/0.cls", text("1"))},
			[]string{"cat", "dog"},
			[]string{"dog/x/0.jpg"},
		},
		"names":           {map[string][]byte{"a.tar": archive(t, "0.png", img(0), "0.cls", text("dog"), "1.cls", text("cat"), "1.png", img(1))}, nil, []string{"cat/1.png", "dog/0.png"}},
		"several":         {map[string][]byte{"b.tar": archive(t, "0.png", img(1)), "a.TAR": archive(t, "./0.png", img(0))}, nil, []string{"a/0.png", "b/0.png"}},
		"folders":         {map[string][]byte{"a.tar": archive(t, "cat/0.png", img(0), "dog/0.png", img(1))}, nil, []string{"cat/0.png", "dog/0.png"}},
		"no labels":       {map[string][]byte{"a.tar": archive(t, "0.png", img(0), "1.png", img(1))}, nil, []string{"0.png", "1.png"}},
		"class too large": {map[string][]byte{"a.tar": archive(t, "0.png", img(0), "0.cls", text("2"))}, []string{"cat", "dog"}, []string{"label 2"}},
		"unknown name":    {map[string][]byte{"a.tar": archive(t, "0.png", img(0), "0.cls", text("cow"))}, []string{"cat", "dog"}, []string{`"cow"`}},
		"missing class":   {map[string][]byte{"a.tar": archive(t, "0.png", img(0), "0.cls", text("1"), "1.png", img(1))}, nil, []string{"1.png has no .cls"}},
		"no images":       {map[string][]byte{"a.tar": archive(t, "0.txt", text("x"))}, nil, []string{"no images"}},
		"cut off":         {map[string][]byte{"a.tar": archive(t, "0.png", img(0))[:540]}, nil, []string{"cut off"}},
		"no tar":          {map[string][]byte{"a.tar": bytes.Repeat([]byte("x"), 2000)}, nil, []string{"no tar file"}},
	} {
		root := t.TempDir()
		place := root
		for file_, data := range tt.tars {
			file(t, filepath.Join(root, file_), data)
			if len(tt.tars) == 1 {
				place = filepath.Join(root, file_) // the file itself
			}
		}
		b := mem.New()
		_, err := importFolder(t.Context(), b, place, options{Classes: tt.classes})
		if strings.Contains(tt.want[0], "/") || strings.HasPrefix(tt.want[0], "0.png") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := names(t, b); !slices.Equal(got, tt.want) {
				t.Errorf("%s: images %q, want %q", name, got, tt.want)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want[0]) || !strings.Contains(err.Error(), "a.tar") && !strings.Contains(err.Error(), root) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want[0])
		}
	}
}

// TestShardsAreASource packs a dataset, packs its shards again, and extracts them with plain tar readers.
func TestShardsAreASource(t *testing.T) {
	root := t.TempDir()
	b, err := dir.New(root)
	if err != nil {
		t.Fatal(err)
	}
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 4, Classes: classes})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if err := w.Add(t.Context(), fmt.Sprintf("%d.png", i), i%2, grey(t, i+1, uint8(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := mem.New()
	m, err := importFolder(t.Context(), again, root, options{})
	if err != nil || m.Count != 8 || !slices.Equal(m.Classes, classes) {
		t.Errorf("%+v, %v", m, err)
	}
	in := tar.NewReader(bytes.NewReader(content(t, b)["shard-00001.tar"]))
	for i := 4; i < 8; i++ {
		h, err := in.Next()
		if err != nil || h.Name != name7(i) {
			t.Fatalf("%v, %v", h, err)
		}
		if data, err := io.ReadAll(in); err != nil || !bytes.Equal(data, grey(t, i+1, uint8(i))) {
			t.Errorf("%s: %d bytes, %v", h.Name, len(data), err)
		}
	}
}

func name7(i int) string { return fmt.Sprintf("%s/%d.png", classes[i%2], i) }

func TestSourceErrors(t *testing.T) {
	root := t.TempDir()
	file(t, filepath.Join(root, "x.txt"), []byte("nothing of any kind that is known"))
	file(t, filepath.Join(root, "x.tar.gz"), []byte("x"))
	for name, tt := range map[string]struct{ place, labels, want string }{
		"nothing there": {root + "/none", "", "no such file"},
		"no images":     {root, "", "no images"},
		"no IDX":        {root + "/x.txt", "", "another kind of file"},
		"compressed":    {root + "/x.tar.gz", "", "gunzip"},
		"labels":        {root, root + "/x.txt", "labels of a folder"},
		"a key":         {"s3://key:hunter2@bucket/x", "", "do not belong into a URL"},
	} {
		_, err := dataset.OpenSource(t.Context(), tt.place, tt.labels, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}
