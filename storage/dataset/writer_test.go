package dataset_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/color"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

func TestShardsArePlainTar(t *testing.T) {
	buckets(t, func(t *testing.T, b storage.Bucket) {
		packed(t, b, 7, 3)
		number := 0
		for shard, count := range []int{3, 3, 1} {
			data, err := storage.ReadAll(t.Context(), b, fmt.Sprintf("shard-%05d.tar", shard), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(data)%512 != 0 || !bytes.Equal(data[257:263], []byte("ustar\x00")) {
				t.Errorf("shard %d is no ustar file", shard)
			}
			archive := tar.NewReader(bytes.NewReader(data))
			for range count {
				h, err := archive.Next()
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(archive)
				if err != nil || h.Name != name(number) || !bytes.Equal(got, grey(t, number+1, uint8(number))) {
					t.Errorf("entry %d is %s of %d bytes (%v), want %s", number, h.Name, len(got), err, name(number))
				}
				if !h.ModTime.Equal(time.Unix(0, 0)) || h.Mode != 0o644 || h.Uid != 0 || h.Uname != "" {
					t.Errorf("entry %s has a time, mode or owner: %+v", h.Name, h)
				}
				number++
			}
			if _, err := archive.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("shard %d goes on: %v", shard, err)
			}
		}
	})
}

func TestSameImagesSameBytes(t *testing.T) {
	one, two := mem.New(), mem.New()
	packed(t, one, 11, 4)
	packed(t, two, 11, 4)
	if !reflect.DeepEqual(content(t, one), content(t, two)) {
		t.Error("packing the same images twice gives other bytes")
	}
}

func TestManifest(t *testing.T) {
	b := mem.New()
	m := packed(t, b, 7, 3)
	if m.Version != 1 || m.Count != 7 || m.Channels != 1 || !reflect.DeepEqual(m.Classes, classes) || len(m.Shards) != 3 {
		t.Errorf("manifest %+v", m)
	}
	if got := m.ShardCounts(); !reflect.DeepEqual(got, []int{3, 3, 1}) {
		t.Errorf("shard counts %v", got)
	}
	if got := openDataset(t, b).Manifest(); !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v, written %+v", got, m)
	}
	m.Classes[0], m.Shards[0].Name = "changed", "changed"
	if d := openDataset(t, b); d.Manifest().Classes[0] != "cat" {
		t.Error("a copy of the manifest is shared")
	}
	var size int64
	for key, data := range content(t, b) {
		if strings.HasSuffix(key, ".tar") {
			size += int64(len(data))
		}
	}
	if m.Bytes() != size {
		t.Errorf("Bytes = %d, want %d", m.Bytes(), size)
	}
}

func TestStatistics(t *testing.T) {
	for _, tt := range []struct {
		name      string
		images    [][]byte
		channels  int
		mean, std []float64 // times 255
	}{
		{"grey", [][]byte{grey(t, 3, 100), grey(t, 3, 200)}, 1, []float64{150}, []float64{50}},
		{"by pixels", [][]byte{grey(t, 3, 0), grey(t, 1, 200)}, 1, []float64{50}, []float64{math.Sqrt(7500)}},
		{
			"grey as colours",
			[][]byte{coloured(t, color.Gray{100}), coloured(t, color.Gray{200})},
			1,
			[]float64{150},
			[]float64{50},
		},
		{
			"coloured",
			[][]byte{coloured(t, color.NRGBA{255, 100, 0, 255}), coloured(t, color.NRGBA{255, 200, 20, 255})},
			3,
			[]float64{255, 150, 10},
			[]float64{1, 50, 10},
		},
		{"constant", [][]byte{grey(t, 4, 7)}, 1, []float64{7}, []float64{1}},
	} {
		w, err := dataset.NewWriter(mem.New(), dataset.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, data := range tt.images {
			if err := w.Add(t.Context(), fmt.Sprint(i), -1, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := w.Manifest()
		if m.Channels != tt.channels || len(m.Mean) != tt.channels || len(m.Std) != tt.channels {
			t.Errorf("%s: %d channels, mean %v, std %v; want %d", tt.name, m.Channels, m.Mean, m.Std, tt.channels)
			continue
		}
		for c := range tt.channels {
			if math.Abs(m.Mean[c]*255-tt.mean[c]) > 1e-9 || math.Abs(m.Std[c]*255-tt.std[c]) > 1e-5 {
				t.Errorf("%s: channel %d has mean %v and std %v, want %v and %v (of 255)",
					tt.name, c, m.Mean[c]*255, m.Std[c]*255, tt.mean[c], tt.std[c])
			}
		}
	}
}

// TestAddRefuses also packs an image after each refusal: the dataset must be as if the bad image had not been there.
func TestAddRefuses(t *testing.T) {
	good := grey(t, 1, 1)
	clean, b := mem.New(), mem.New()
	for _, bad := range []bool{false, true} {
		dst := clean
		if bad {
			dst = b
		}
		w, err := dataset.NewWriter(dst, dataset.WriterOptions{ShardSize: 3, Classes: classes})
		if err != nil {
			t.Fatal(err)
		}
		for i, tt := range []struct {
			name  string
			label int
			data  []byte
			want  string
		}{
			{"no image.png", 0, []byte("text"), "decode"},
			{"cut.png", 0, grey(t, 9, 1)[:60], "decode"},
			{"empty.png", 0, nil, "decode"},
			{"x.png", 2, good, "label 2"},
			{"x.png", -2, good, "label -2"},
			{"../x.png", 0, good, "not allowed"},
			{"", 0, good, "not allowed"},
			{"0.png", 0, good, "already"},
			{"huge.png", 0, hugePNG(t), "too large"},
		} {
			if err := w.Add(t.Context(), fmt.Sprintf("%d.png", i), 0, good); err != nil {
				t.Fatal(err)
			}
			if !bad {
				continue
			}
			err := w.Add(t.Context(), tt.name, tt.label, tt.data)
			if !errors.Is(err, dataset.ErrImage) || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), tt.name) {
				t.Errorf("Add(%q, %d, %d bytes) = %v, want ErrImage with %q", tt.name, tt.label, len(tt.data), err, tt.want)
			}
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(content(t, clean), content(t, b)) {
		t.Error("images that were refused left traces")
	}
}

// hugePNG announces 2^40 pixels in a few bytes.
func hugePNG(t *testing.T) []byte {
	data := grey(t, 1, 1)
	copy(data[16:24], []byte{0, 0x10, 0, 0, 0, 0x10, 0, 0})
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

func TestLongAndForeignNames(t *testing.T) {
	b := mem.New()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{strings.Repeat("long/", 60) + "x.png", "Bär 熊.png", strings.Repeat("y", 150) + ".png"}
	for _, n := range names {
		if err := w.Add(t.Context(), n, -1, grey(t, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := openDataset(t, b)
	for i, n := range names {
		if s, data, err := d.Sample(t.Context(), i); err != nil || s.Name != n || !bytes.Equal(data, grey(t, 1, 1)) {
			t.Errorf("sample %d is %+v, %d bytes, %v", i, s, len(data), err)
		}
	}
	if s, err := d.Inspect(t.Context(), dataset.InspectOptions{}); err != nil || len(s.Damaged) != 0 {
		t.Errorf("Inspect = %+v, %v", s, err)
	}
}

func TestNewWriterRefuses(t *testing.T) {
	for want, o := range map[string]dataset.WriterOptions{
		"shard size":    {ShardSize: -1},
		"two classes":   {Classes: []string{"a", "a"}},
		`"t-shirt/top"`: {Classes: []string{"t-shirt/top"}},
		`""`:            {Classes: []string{""}},
	} {
		if _, err := dataset.NewWriter(mem.New(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewWriter(%+v) = %v, want an error with %q", o, err, want)
		}
	}
}

func TestWriterKeepsADataset(t *testing.T) {
	b := mem.New()
	packed(t, b, 3, 2)
	before := content(t, b)
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Add(t.Context(), "x.png", -1, grey(t, 1, 1)); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("Add to a bucket with a dataset = %v, want an error", err)
		}
	}
	if err := w.Close(t.Context()); err == nil {
		t.Error("Close in a bucket with a dataset gave no error")
	}
	if !reflect.DeepEqual(content(t, b), before) {
		t.Error("the dataset was changed")
	}
}

func TestCloseTwiceAndEmpty(t *testing.T) {
	w, err := dataset.NewWriter(mem.New(), dataset.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "no images") {
		t.Errorf("Close without images = %v", err)
	}
	if err := w.Add(t.Context(), "x.png", -1, grey(t, 1, 1)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Add after Close = %v", err)
	}
}

// TestCrashWhilePacking lets the bucket die at every operation: either there is no dataset, or the whole one.
func TestCrashWhilePacking(t *testing.T) {
	for _, fault := range []storagetest.Fault{storagetest.Lost, storagetest.Late} {
		for k, done := 0, false; !done; k++ {
			b := mem.New()
			faulty := &storagetest.Faulty{Bucket: b, At: k, Fault: fault}
			w, err := dataset.NewWriter(faulty, dataset.WriterOptions{ShardSize: 2})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				if err = w.Add(t.Context(), fmt.Sprint(i), -1, grey(t, 1, 1)); err != nil {
					break
				}
			}
			if closeErr := w.Close(t.Context()); err != nil && closeErr == nil {
				t.Errorf("Close after %v gave no error", err)
			} else if err == nil {
				err = closeErr
			}
			done = err == nil
			if err != nil && !errors.Is(err, storagetest.ErrInjected) {
				t.Fatal(err)
			}
			d, err := dataset.Open(t.Context(), b)
			if err != nil {
				if !errors.Is(err, storage.ErrNotFound) || done {
					t.Errorf("%s at %d: Open = %v, want ErrNotFound", fault, k, err)
				}
				continue
			}
			if s, err := d.Inspect(t.Context(), dataset.InspectOptions{}); err != nil || s.Count != 5 || len(s.Damaged) != 0 {
				t.Errorf("%s at %d: %+v, %v", fault, k, s, err)
			}
		}
	}
}
