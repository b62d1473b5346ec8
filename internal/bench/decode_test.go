package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A step with decoding begins as the one without, is checked with the same images, and decodes from then on.
func TestDecode(t *testing.T) {
	b, log := newBench(t, "right")
	c := benchmark{name: "decode", kind: step, pair: tiny, threads: 2, pairs: 2, runs: 2, decode: true}
	r := measureTiny(t, b, c)
	if len(r.Pairs) != 2 || !(r.Ours > 0) {
		t.Errorf("%+v", r)
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := "prepare begin check choose decode run run run "; string(got) != want {
		t.Errorf("commands:\n%s\nwant\n%s", got, want)
	}
	files, err := filepath.Glob(filepath.Join(b.folder, tiny.name, encodedFolder, "*"))
	if err != nil || len(files) != tiny.batch {
		t.Errorf("%d files for PyTorch, %v", len(files), err)
	}
}

// The images of each step are new views of the files, and only those of the steps that run are made.
func TestDecoding(t *testing.T) {
	b, _ := newBench(t, "right")
	m, err := b.modelsOf(tiny)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoding(t.Context(), m, 2)
	if err != nil {
		t.Fatal(err)
	}
	var views [][]float32
	for range 2 {
		end, err := d.begin(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for lane := range 2 {
			batch, err := d.feed.Next(t.Context(), lane)
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, slices.Clone(batch.Student), slices.Clone(batch.Teacher))
			batch.Release()
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range views {
		if len(v) != tiny.batch/2*16*16*3 {
			t.Fatalf("view %d has %d values", i, len(v))
		}
		for k, w := range views[:i] {
			if slices.Equal(v, w) {
				t.Errorf("views %d and %d are equal", k, i)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	small, err := encode(tiny)
	if err != nil {
		t.Fatal(err)
	}
	p := tiny
	p.student.Size, p.batch = 70, 2
	large, err := encode(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(small) != tiny.batch || !bytes.HasPrefix(small[0], []byte("\x89PNG")) || !bytes.HasPrefix(large[1], []byte{0xff, 0xd8}) ||
		bytes.Equal(large[0], large[1]) {
		t.Errorf("%d and %d files", len(small), len(large))
	}
}
