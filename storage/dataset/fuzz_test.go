package dataset_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pupil/storage/dataset"
	"pupil/storage/dir"
	"pupil/storage/diskcache"
	"pupil/storage/mem"
)

// goodManifest is a manifest as JSON, with parts that a test can replace.
func goodManifest(t testing.TB) []byte {
	b := mem.New()
	packed(t, b, 6, 3)
	return content(t, b)["manifest.json"]
}

func TestManifestRefuses(t *testing.T) {
	good := goodManifest(t)
	for want, change := range map[string]func(*dataset.Manifest){
		"version 2":          func(m *dataset.Manifest) { m.Version = 2 },
		"channels is 2":      func(m *dataset.Manifest) { m.Channels = 2 },
		"values of mean":     func(m *dataset.Manifest) { m.Mean = nil },
		"std 0 ":             func(m *dataset.Manifest) { m.Std[0] = 0 },
		"mean 2":             func(m *dataset.Manifest) { m.Mean[0] = 2 },
		"count is 7":         func(m *dataset.Manifest) { m.Count = 7 },
		"count is 0":         func(m *dataset.Manifest) { m.Count, m.Shards = 0, nil },
		"comes twice":        func(m *dataset.Manifest) { m.Shards[1].Name = m.Shards[0].Name },
		`"../x.tar"`:         func(m *dataset.Manifest) { m.Shards[1].Name = "../x.tar" },
		`"x.zip"`:            func(m *dataset.Manifest) { m.Shards[1].Name = "x.zip" },
		`"manifest.tar"`:     func(m *dataset.Manifest) { m.Shards[1].Name = "manifest.tar" },
		"count 0":            func(m *dataset.Manifest) { m.Shards[0].Count = 0 },
		"count -3":           func(m *dataset.Manifest) { m.Shards[0].Count = -3 },
		"size 0":             func(m *dataset.Manifest) { m.Shards[0].Size = 0 },
		"size 1099511627777": func(m *dataset.Manifest) { m.Shards[0].Size = 1<<40 + 1 },
		"64 hexadecimal":     func(m *dataset.Manifest) { m.Shards[0].SHA256 = "12" },
		"two classes":        func(m *dataset.Manifest) { m.Classes[1] = m.Classes[0] },
		"class 1":            func(m *dataset.Manifest) { m.Classes[1] = "a/b" },
	} {
		var m dataset.Manifest
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		refusesManifest(t, want, data)
	}
	refusesManifest(t, "unknown field", bytes.Replace(good, []byte(`"count"`), []byte(`"more": 1, "count"`), 1))
	refusesManifest(t, "follows", append(bytes.Clone(good), "{}"...))
	refusesManifest(t, "cut off", good[:len(good)/2])
}

func refusesManifest(t *testing.T, want string, data []byte) {
	t.Helper()
	b := mem.New()
	write(t, b, "manifest.json", data)
	_, err := dataset.Open(t.Context(), b)
	if !errors.Is(err, dataset.ErrDamaged) || !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %v, want ErrDamaged with %q", err, want)
	}
}

// withIndex makes a dataset of one shard of 1024 bytes with an index of two images, vouched for by the manifest.
func withIndex(t testing.TB, index []byte) *mem.Bucket {
	b := mem.New()
	shard := bytes.Repeat([]byte("x"), 1024)
	write(t, b, "s.tar", shard)
	write(t, b, "s.json", index)
	sum := func(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }
	m := dataset.Manifest{
		Version: 1, Count: 2, Classes: classes, Channels: 1, Mean: []float64{0.5}, Std: []float64{0.5},
		Shards: []dataset.ShardInfo{{Name: "s.tar", Count: 2, Size: 1024, SHA256: sum(shard), IndexSHA256: sum(index)}},
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, b, "manifest.json", data)
	return b
}

func index(second string) []byte {
	return fmt.Appendf(nil, `{"version":1,"entries":[{"name":"a","offset":0,"size":512,"label":0},%s]}`, second)
}

// samples uses every sample of a dataset once.
func samples(t *testing.T, b *mem.Bucket) error {
	d, err := dataset.Open(t.Context(), b)
	if err != nil {
		return err
	}
	return each(t, d)
}

func TestIndexRefuses(t *testing.T) {
	if err := samples(t, withIndex(t, index(`{"name":"b","offset":512,"size":512,"label":-1}`))); err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"version 0":          []byte(`{}`),
		"1 images":           []byte(`{"version":1,"entries":[{"name":"a","offset":0,"size":512,"label":0}]}`),
		"offset 511":         index(`{"name":"b","offset":511,"size":1,"label":0}`),
		"offset 1025":        index(`{"name":"b","offset":1025,"size":0,"label":0}`),
		"offset -1":          index(`{"name":"b","offset":-1,"size":1,"label":0}`),
		"513 bytes":          index(`{"name":"b","offset":512,"size":513,"label":0}`),
		"-1 bytes":           index(`{"name":"b","offset":512,"size":-1,"label":0}`),
		"922337203685477580": index(`{"name":"b","offset":512,"size":9223372036854775807,"label":0}`),
		"label 2":            index(`{"name":"b","offset":512,"size":1,"label":2}`),
		"label -2":           index(`{"name":"b","offset":512,"size":1,"label":-2}`),
		`"../b"`:             index(`{"name":"../b","offset":512,"size":1,"label":0}`),
		"unknown field":      index(`{"name":"b","offset":512,"size":1,"label":0,"x":1}`),
		"cut off":            []byte(`{"version":1,"entries":[{"name":"a","off`),
		"the sum":            index(`{"name":"b","offset":512,"size":1,"label":0,"sum":"0123456789abcdef"}`),
		"version 3":          []byte(`{"version":3,"entries":[]}`),
		"follows":            append(index(`{"name":"b","offset":512,"size":1,"label":0}`), "[]"...),
	} {
		err := samples(t, withIndex(t, data))
		if !errors.Is(err, dataset.ErrDamaged) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "s.json") {
			t.Errorf("index %s: %v, want ErrDamaged with %q", data, err, want)
		}
	}
}

// TestInspectComparesTarAndIndex gives a dataset whose index does not fit its tar file, though every hash is right.
func TestInspectComparesTarAndIndex(t *testing.T) {
	d := openDataset(t, withIndex(t, index(`{"name":"b","offset":512,"size":512,"label":-1}`)))
	s, err := d.Inspect(t.Context(), dataset.InspectOptions{})
	if err != nil || len(s.Damaged) != 1 || !strings.Contains(s.Damaged[0].Error(), "s.tar") {
		t.Errorf("Inspect = %+v, %v", s, err)
	}
}

// FuzzManifest opens any manifest: what is accepted adds up.
func FuzzManifest(f *testing.F) {
	f.Add(goodManifest(f))
	f.Add([]byte(`{"version":1,"count":-1,"shards":[{"name":"a.tar","count":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := mem.New()
		write(t, b, "manifest.json", data)
		d, err := dataset.Open(context.Background(), b)
		if err != nil {
			return
		}
		sum := 0
		for _, n := range d.Manifest().ShardCounts() {
			sum += n
		}
		if sum != d.Count() || sum < 1 {
			t.Errorf("accepted a manifest of %d images whose shards have %d", d.Count(), sum)
		}
		for _, i := range []int{0, d.Count() - 1} { // the shards are missing
			if _, _, err := d.Sample(context.Background(), i); !errors.Is(err, dataset.ErrDamaged) {
				t.Errorf("Sample(%d) = %v", i, err)
			}
		}
	})
}

// FuzzIndex reads every image of a shard with any index, vouched for by its manifest.
func FuzzIndex(f *testing.F) {
	f.Add(index(`{"name":"b","offset":512,"size":512,"label":-1}`))
	f.Add(index(`{"name":"b","offset":9223372036854775807,"size":9223372036854775807,"label":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := openDataset(t, withIndex(t, data))
		for i := range 2 {
			s, image, err := d.Sample(context.Background(), i)
			if err == nil && (s.Index != i || s.Label < -1 || s.Label > 1 || len(image) > 1024) {
				t.Errorf("Sample(%d) = %+v, %d bytes", i, s, len(image))
			}
		}
	})
}

// TestOlderIndexes reads a dataset whose indexes are of version 1, without sums.
func TestOlderIndexes(t *testing.T) {
	b, err := dir.New("testdata/v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(t, b); err != nil {
		t.Fatal(err)
	}
	d := openDataset(t, b, dataset.CacheBytes(1), dataset.Disk(diskcache.New(t.TempDir(), 1<<20, nil)))
	if s, data, err := d.Sample(t.Context(), 4); err != nil || s.Name != "b/5.pgm" || string(data) != "P5 2 1 255 55" {
		t.Errorf("Sample = %+v, %q, %v", s, data, err)
	}
}
