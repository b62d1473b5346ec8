package dataset_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"pupil/storage/dataset"
)

// idx makes an IDX file from its numbers and bytes.
func idx(data []byte, numbers ...uint32) []byte {
	var out []byte
	for _, n := range numbers {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return append(out, data...)
}

func zip(t testing.TB, data []byte) []byte {
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

// examples reads all examples of a pair of files.
func examples(images, labels io.Reader) ([]dataset.Example, error) {
	x, err := dataset.ReadIDX(images, labels)
	if err != nil {
		return nil, err
	}
	var out []dataset.Example
	for e, err := range x.All() {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func TestReadIDX(t *testing.T) {
	images := idx([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 0x803, 2, 2, 3)
	labels := idx([]byte{7, 0}, 0x801, 2)
	for name, pair := range map[string][2][]byte{
		"plain": {images, labels}, "gzip": {zip(t, images), zip(t, labels)}, "mixed": {zip(t, images), labels},
	} {
		got, err := examples(bytes.NewReader(pair[0]), bytes.NewReader(pair[1]))
		if err != nil || len(got) != 2 {
			t.Fatalf("%s: %d examples, %v", name, len(got), err)
		}
		if got[0].Label != 7 || got[1].Label != 0 || got[1].Image.Bounds().Dx() != 3 || got[1].Image.Bounds().Dy() != 2 ||
			got[0].Image.GrayAt(2, 0).Y != 3 || got[1].Image.GrayAt(0, 1).Y != 10 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got, err := examples(bytes.NewReader(images), nil)
	if err != nil || len(got) != 2 || got[0].Label != -1 {
		t.Errorf("without labels: %+v, %v", got, err)
	}
	x, err := dataset.ReadIDX(bytes.NewReader(images), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range x.All() {
		break // a caller may stop
	}
}

func TestReadIDXRefuses(t *testing.T) {
	good, labels := idx([]byte{1, 2}, 0x803, 2, 1, 1), idx([]byte{0, 1}, 0x801, 2)
	damaged := zip(t, good)
	damaged[len(damaged)-6]++ // in the checksum
	for want, pair := range map[string][2][]byte{
		"images: header: unexpected EOF":   {nil, labels},
		"labels: header: unexpected EOF":   {good, labels[:7]},
		"another kind of file":             {good, good},
		"0x00000d03":                       {idx(nil, 0xd03, 1, 1, 1), labels},
		"0 x 1 pixels":                     {idx(nil, 0x803, 1, 1, 0), labels},
		"5000 x 1":                         {idx(nil, 0x803, 1, 1, 5000), labels},
		"out of range":                     {idx(nil, 0x803, 1<<31, 1, 1), labels},
		"2 images, but 3 labels":           {good, idx([]byte{0, 1, 2}, 0x801, 3)},
		"example 1: image: unexpected EOF": {good[:len(good)-1], labels},
		"example 1: label: unexpected EOF": {good, labels[:len(labels)-1]},
		"goes on":                          {append(bytes.Clone(good), 1), labels},
		"checksum":                         {damaged, labels},
		"gzip":                             {append([]byte{0x1f, 0x8b}, good...), labels},
	} {
		_, err := examples(bytes.NewReader(pair[0]), bytes.NewReader(pair[1]))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := examples(bytes.NewReader(zip(t, good)[:20]), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut gzip file: %v", err)
	}
}

// FuzzReadIDX reads any pair of files: it ends, and gives no more than the header says.
func FuzzReadIDX(f *testing.F) {
	f.Add(idx([]byte{1, 2}, 0x803, 2, 1, 1), idx([]byte{0, 1}, 0x801, 2))
	f.Add(zip(f, idx([]byte{1, 2}, 0x803, 1, 2, 1)), idx([]byte{0}, 0x801, 1))
	f.Add(idx(nil, 0x803, 1<<31-1, 4096, 4096), idx(nil, 0x801, 1<<31-1))
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		x, err := dataset.ReadIDX(bytes.NewReader(images), bytes.NewReader(labels))
		if err != nil {
			return
		}
		n := 0
		for e, err := range x.All() {
			if err != nil {
				return
			}
			if e.Label < 0 || e.Label > 255 || len(e.Image.Pix) != x.Width*x.Height {
				t.Fatalf("example %d: label %d, %d pixels of %d x %d", n, e.Label, len(e.Image.Pix), x.Width, x.Height)
			}
			n++
		}
		if n != x.Count {
			t.Errorf("%d examples, the header says %d", n, x.Count)
		}
	})
}
