package dataset_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/mem"
)

// idxFiles writes a pair of IDX files of n images of 2 x 1 pixels; image i has the pixels i and 200, and the label i%3.
func idxFiles(t testing.TB, n int) (images, labels string) {
	t.Helper()
	folder := t.TempDir()
	var pixels, labelled []byte
	for i := range n {
		pixels = append(pixels, byte(i), 200)
		labelled = append(labelled, byte(i%3))
	}
	images, labels = filepath.Join(folder, "images.gz"), filepath.Join(folder, "labels")
	file(t, images, zip(t, idx(pixels, 0x803, uint32(n), 1, 2)))
	file(t, labels, idx(labelled, 0x801, uint32(n)))
	return images, labels
}

// options are those of an import and of its source.
type options struct {
	Classes                   []string
	ShardSize, PerClass, Skip int
	KeepGoing                 bool
}

func (o options) pack(ctx context.Context, b storage.Bucket, s *dataset.Source, err error) (dataset.Manifest, error) {
	if err != nil {
		return dataset.Manifest{}, err
	}
	m, _, err := dataset.Import(ctx, b, s, dataset.ImportOptions{
		ShardSize: o.ShardSize, PerClass: o.PerClass, Skip: o.Skip, KeepGoing: o.KeepGoing,
	})
	return m, err
}

func importFolder(ctx context.Context, b storage.Bucket, root string, o options) (dataset.Manifest, error) {
	s, err := dataset.OpenSource(ctx, root, "", o.Classes)
	return o.pack(ctx, b, s, err)
}

func importIDX(ctx context.Context, b storage.Bucket, images, labels string, o options) (dataset.Manifest, error) {
	s, err := dataset.OpenSource(ctx, images, labels, o.Classes)
	return o.pack(ctx, b, s, err)
}

func file(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// names returns the names of all images of a dataset, in order.
func names(t testing.TB, b storage.Bucket) []string {
	t.Helper()
	d := openDataset(t, b)
	var out []string
	for i := range d.Count() {
		s, _, err := d.Sample(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s.Name)
	}
	return out
}

func TestImportIDX(t *testing.T) {
	images, labels := idxFiles(t, 20)
	b := mem.New()
	m, err := importIDX(t.Context(), b, images, labels, options{
		Classes: []string{"a", "b", "c"}, ShardSize: 4, PerClass: 3,
	})
	if err != nil || m.Count != 9 || m.Channels != 1 || len(m.Shards) != 3 {
		t.Fatalf("ImportIDX = %+v, %v", m, err)
	}
	want := []string{
		"a/00000.png", "b/00001.png", "c/00002.png", "a/00003.png", "b/00004.png", "c/00005.png",
		"a/00006.png", "b/00007.png", "c/00008.png",
	}
	if got := names(t, b); !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
	s, data, err := openDataset(t, b).Sample(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r, _, _, _ := decoded.At(0, 0).RGBA()
	if s.Label != 1 || r>>8 != 7 || decoded.Bounds().Dx() != 2 || decoded.Bounds().Dy() != 1 {
		t.Errorf("sample 7 is %+v, first pixel %d, %v", s, r>>8, decoded.Bounds())
	}
	again := mem.New()
	if _, err := importIDX(t.Context(), again, images, labels, options{
		Classes: []string{"a", "b", "c"}, ShardSize: 4, PerClass: 3,
	}); err != nil || !reflect.DeepEqual(content(t, b), content(t, again)) {
		t.Errorf("the same import gives other bytes (%v)", err)
	}
}

func TestImportIDXChoices(t *testing.T) {
	images, labels := idxFiles(t, 10) // labels 0 1 2 0 1 2 0 1 2 0
	for name, tt := range map[string]struct {
		labels  string
		options options
		want    []string // names, or an error
	}{
		"all, numbered classes": {labels, options{}, []string{
			"0/00000.png", "1/00001.png", "2/00002.png", "0/00003.png", "1/00004.png", "2/00005.png",
			"0/00006.png", "1/00007.png", "2/00008.png", "0/00009.png",
		}},
		"skip": {labels, options{PerClass: 1, Skip: 2}, []string{
			"0/00006.png", "1/00007.png", "2/00008.png",
		}},
		"skip without end":  {labels, options{Skip: 3}, []string{"0/00009.png"}},
		"no labels":         {"", options{PerClass: 2, Skip: 1}, []string{"00001.png", "00002.png"}},
		"too few":           {labels, options{PerClass: 4}, []string{`class "1" has 3 images, fewer`}},
		"too few unlabeled": {"", options{PerClass: 11}, []string{"the source has 10 images"}},
		"too few classes":   {labels, options{Classes: []string{"a", "b"}}, []string{"the label 2"}},
		"classes, no file":  {"", options{Classes: []string{"a"}}, []string{"no file of labels"}},
		"negative":          {labels, options{Skip: -1}, []string{"want 0 or more"}},
		"no such file":      {labels + "x", options{}, []string{"no such file"}},
		"wrong file":        {images, options{}, []string{"another kind of file"}},
	} {
		b := mem.New()
		_, err := importIDX(t.Context(), b, images, tt.labels, tt.options)
		if strings.HasSuffix(tt.want[0], ".png") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := names(t, b); !slices.Equal(got, tt.want) {
				t.Errorf("%s: images %q, want %q", name, got, tt.want)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want[0]) || !strings.Contains(err.Error(), images) {
			t.Errorf("%s: %v, want an error with %q that names the file", name, err, tt.want[0])
		}
	}
}

func TestImportFolder(t *testing.T) {
	root := t.TempDir()
	for i := range 6 {
		file(t, filepath.Join(root, "dog", fmt.Sprintf("d%d.png", i)), grey(t, i+1, 9))
	}
	for i := range 2 {
		file(t, filepath.Join(root, "cat", "deep", fmt.Sprintf("c%d.PNG", i)), grey(t, i+1, 8))
	}
	file(t, filepath.Join(root, "cat", "notes.txt"), []byte("no image"))
	file(t, filepath.Join(root, "cat", ".hidden.png"), []byte("no image"))
	b := mem.New()
	m, err := importFolder(t.Context(), b, root, options{})
	if err != nil || m.Count != 8 || !slices.Equal(m.Classes, []string{"cat", "dog"}) {
		t.Fatalf("ImportFolder = %+v, %v", m, err)
	}
	want := []string{ // evenly mixed: 1/4, 3/4 of the cats among 1/12, 3/12 ... of the dogs
		"dog/d0.png", "cat/deep/c0.PNG", "dog/d1.png", "dog/d2.png", "dog/d3.png", "cat/deep/c1.PNG", "dog/d4.png",
		"dog/d5.png",
	}
	if got := names(t, b); !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
	if _, data, err := openDataset(t, b).Sample(t.Context(), 1); err != nil || !bytes.Equal(data, grey(t, 1, 8)) {
		t.Errorf("an image is not stored as it is (%v)", err)
	}
	for name, tt := range map[string]struct {
		options options
		want    []string
	}{
		"per class":      {options{PerClass: 1, Skip: 1}, []string{"cat/deep/c1.PNG", "dog/d1.png"}},
		"given classes":  {options{Classes: []string{"dog", "cat", "cow"}}, []string{"dog/d0.png"}},
		"unknown class":  {options{Classes: []string{"dog"}}, []string{"folder cat is not among"}},
		"too few images": {options{PerClass: 3}, []string{`class "cat" has 2 images`}},
	} {
		b := mem.New()
		_, err := importFolder(t.Context(), b, root, tt.options)
		if strings.Contains(tt.want[0], "/") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := names(t, b); !slices.Equal(got[:len(tt.want)], tt.want) {
				t.Errorf("%s: images %q, want %q first", name, got, tt.want)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want[0]) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want[0])
		}
	}
}

func TestImportFolderWithoutClasses(t *testing.T) {
	root := t.TempDir()
	if _, err := importFolder(t.Context(), mem.New(), root, options{}); err == nil ||
		!strings.Contains(err.Error(), "no images") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := importFolder(t.Context(), mem.New(), root+"/none", options{}); err == nil {
		t.Error("a missing folder gave no error")
	}
	for i := range 3 {
		file(t, filepath.Join(root, fmt.Sprintf("%d.png", i)), grey(t, 1, 1))
	}
	b := mem.New()
	if m, err := importFolder(t.Context(), b, root, options{}); err != nil || len(m.Classes) != 0 {
		t.Fatalf("ImportFolder = %+v, %v", m, err)
	}
	if got := names(t, b); !slices.Equal(got, []string{"0.png", "1.png", "2.png"}) {
		t.Errorf("images %q", got)
	}
	if _, err := importFolder(t.Context(), mem.New(), root, options{Classes: classes}); err == nil {
		t.Error("named classes without folders gave no error")
	}
	file(t, filepath.Join(root, "folder", "x.png"), grey(t, 1, 1))
	if _, err := importFolder(t.Context(), mem.New(), root, options{}); err == nil ||
		!strings.Contains(err.Error(), "move one") {
		t.Errorf("images in folders and outside: %v", err)
	}
}

func TestImportBroken(t *testing.T) {
	root := t.TempDir()
	file(t, filepath.Join(root, "a.png"), grey(t, 1, 1))
	file(t, filepath.Join(root, "b.png"), []byte("broken"))
	_, err := importFolder(t.Context(), mem.New(), root, options{})
	if !errors.Is(err, dataset.ErrImage) || !strings.Contains(err.Error(), "b.png") {
		t.Errorf("a broken image: %v, want an error that names it", err)
	}
	b := mem.New()
	m, err := importFolder(t.Context(), b, root, options{KeepGoing: true})
	if err != nil || m.Count != 1 {
		t.Errorf("with KeepGoing: %+v, %v", m, err)
	}
}

func Example() {
	ctx := context.Background()
	b := mem.New()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 2, Classes: []string{"dark", "light"}})
	if err != nil {
		fmt.Println(err)
	}
	for i, value := range []uint8{0, 255, 0} {
		if err := w.Add(ctx, fmt.Sprintf("%d.png", i), int(value)/255, exampleImage(value)); err != nil {
			fmt.Println(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		fmt.Println(err)
	}
	d, err := dataset.Open(ctx, b)
	if err != nil {
		fmt.Println(err)
	}
	m := d.Manifest()
	fmt.Printf("%d images in %d shards, mean %.3f, std %.3f\n", m.Count, len(m.Shards), m.Mean[0], m.Std[0])
	s, data, err := d.Sample(ctx, 1)
	fmt.Println(s.Name, s.Label, len(data) > 0, err)
	// Output:
	// 3 images in 2 shards, mean 0.333, std 0.471
	// light/1.png 1 true <nil>
}

// exampleImage returns a grey PNG.
func exampleImage(value uint8) []byte {
	m := image.NewGray(image.Rect(0, 0, 4, 4))
	for i := range m.Pix {
		m.Pix[i] = value
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		fmt.Println(err)
	}
	return b.Bytes()
}
