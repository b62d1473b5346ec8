package dataset_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/diskcache"
	"pupil/storage/mem"
)

func TestSamples(t *testing.T) {
	buckets(t, func(t *testing.T, b storage.Bucket) {
		packed(t, b, 11, 4)
		d := openDataset(t, b)
		if d.Count() != 11 {
			t.Errorf("Count = %d", d.Count())
		}
		for i := range 11 {
			s, data, err := d.Sample(t.Context(), i)
			want := dataset.Sample{Name: name(i), Label: label(i), Shard: i / 4, Index: i}
			if err != nil || s != want || !bytes.Equal(data, grey(t, i+1, uint8(i))) {
				t.Errorf("Sample(%d) = %+v, %d bytes, %v; want %+v", i, s, len(data), err, want)
			}
			shard := fmt.Sprintf("shard-%05d.tar", i/4)
			if got := d.Describe(s); !strings.Contains(got, name(i)) || !strings.Contains(got, shard) {
				t.Errorf("Describe = %q", got)
			}
		}
		for _, i := range []int{-1, 11} {
			if _, _, err := d.Sample(t.Context(), i); err == nil {
				t.Errorf("Sample(%d) of 11 gave no error", i)
			}
		}
		manifest, err := storage.ReadAll(t.Context(), b, "manifest.json", 1<<20)
		if sum := sha256.Sum256(manifest); err != nil || d.Digest() != hex.EncodeToString(sum[:]) {
			t.Errorf("Digest = %s", d.Digest())
		}
	})
}

func TestOpenWithoutDataset(t *testing.T) {
	_, err := dataset.Open(t.Context(), mem.New())
	if !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "no packed dataset in mem:") {
		t.Errorf("Open = %v, want ErrNotFound that says what to do", err)
	}
}

// TestShardsAreReadOnce has many goroutines use a dataset at once: each shard and index is read a single time.
func TestShardsAreReadOnce(t *testing.T) {
	b := &counting{Bucket: mem.New()}
	packed(t, b.Bucket, 20, 5)
	d := openDataset(t, b)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := random.New(random.PurposeTest, uint64(g))
			for range 50 {
				i := r.IntN(20)
				if s, data, err := d.Sample(t.Context(), i); err != nil || s.Index != i || len(data) == 0 {
					t.Errorf("Sample(%d) = %+v, %v", i, s, err)
				}
			}
		})
	}
	wg.Wait()
	for shard := range 4 {
		for _, suffix := range []string{"tar", "json"} {
			if n := b.count(fmt.Sprintf("shard-%05d.%s", shard, suffix)); n != 1 {
				t.Errorf("shard-%05d.%s was read %d times", shard, suffix, n)
			}
		}
	}
}

// TestMemoryIsBounded reads a dataset that does not fit into memory: images are read one by one, or from the cache on disk,
// where each block is fetched once.
func TestMemoryIsBounded(t *testing.T) {
	b := mem.New()
	m := packed(t, b, 40, 20)
	images := int64(0)
	for i := range 40 {
		images += int64(len(grey(t, i+1, uint8(i))))
	}
	indexes := int64(len(content(t, b)["shard-00000.json"]) + len(content(t, b)["shard-00001.json"]))
	folder := t.TempDir()
	for kind, tt := range map[string]struct {
		options []dataset.Option
		rounds  int
		most    int64 // bytes that may be fetched
	}{
		"memory":           {[]dataset.Option{dataset.Block(8)}, 3, m.Bytes() + indexes},
		"one by one":       {[]dataset.Option{dataset.CacheBytes(1)}, 3, 3*images + indexes},
		"disk":             {[]dataset.Option{dataset.CacheBytes(1), dataset.Block(8), dataset.Disk(diskcache.New(t.TempDir(), 1<<20, nil))}, 3, m.Bytes() + indexes},
		"disk and memory":  {[]dataset.Option{dataset.Block(8), dataset.Disk(diskcache.New(folder, 1<<20, nil))}, 2, m.Bytes() + indexes},
		"disk, not enough": {[]dataset.Option{dataset.CacheBytes(1), dataset.Block(8), dataset.Disk(diskcache.New(t.TempDir(), 3000, nil))}, 1, 40 * m.Bytes()},
		"no disk":          {[]dataset.Option{dataset.CacheBytes(1), dataset.Block(8), dataset.Disk(diskcache.New("/dev/null/x", 3000, nil))}, 1, 40 * m.Bytes()},
	} {
		d := openDataset(t, b, tt.options...)
		for range tt.rounds {
			for i := range 40 {
				i = i * 7 % 40
				s, data, err := d.Sample(t.Context(), i)
				if err != nil || s.Name != name(i) || !bytes.Equal(data, grey(t, i+1, uint8(i))) {
					t.Fatalf("%s: Sample(%d) = %+v, %v", kind, i, s, err)
				}
			}
		}
		if got := d.Fetched(); got > tt.most || got < images {
			t.Errorf("%s: %d bytes were fetched, want %d to %d", kind, got, images, tt.most)
		}
	}
	// Another process of the same machine fetches the indexes alone; damage on the disk is found and mended.
	for _, limit := range []int64{1, 1 << 20} {
		d := openDataset(t, b, dataset.CacheBytes(limit), dataset.Block(8), dataset.Disk(diskcache.New(folder, 1<<20, nil)))
		if err := each(t, d); err != nil || d.Fetched() != indexes {
			t.Errorf("a second process: %v; %d bytes were fetched, want %d", err, d.Fetched(), indexes)
		}
		pieces, err := filepath.Glob(filepath.Join(folder, "*.piece"))
		if err != nil || len(pieces) != 6 {
			t.Fatal(pieces, err)
		}
		for _, p := range pieces[:2] {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range data {
				data[i] ^= 1
			}
			if err := os.WriteFile(p, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Truncate(pieces[3], 10); err != nil {
			t.Fatal(err)
		}
		d = openDataset(t, b, dataset.CacheBytes(limit), dataset.Block(8), dataset.Disk(diskcache.New(folder, 1<<20, nil)))
		if err := each(t, d); err != nil || d.Fetched() <= indexes {
			t.Errorf("after damage on the disk: %v; %d bytes were fetched", err, d.Fetched())
		}
	}
}

// TestWorkersFetchTheirShare has four workers share an epoch: each fetches about a quarter of the dataset, with a cold cache,
// though a chunk is a small part of a shard.
func TestWorkersFetchTheirShare(t *testing.T) {
	b := mem.New()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	const count, lanes, workers, chunk = 4000, 8, 4, 16
	for i := range count {
		image := append([]byte("P5 20 20 255 "), bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 200)...)
		if err := w.Add(t.Context(), fmt.Sprintf("%d.pgm", i), -1, image); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	order := dataset.Order{Count: count, Batch: 80, Lanes: lanes, Chunk: chunk, ShardCounts: w.Manifest().ShardCounts(), Seed: 3}
	indexes := int64(0)
	for key, data := range content(t, b) {
		if strings.HasPrefix(key, "shard-") && strings.HasSuffix(key, ".json") {
			indexes += int64(len(data))
		}
	}
	for name, options := range map[string][]dataset.Option{
		"memory": nil, "disk": {dataset.CacheBytes(1), dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil))},
	} {
		for worker := range workers {
			if name == "disk" { // another machine
				options[1] = dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil))
			}
			d := openDataset(t, b, append(options, dataset.Block(chunk))...)
			for lane := worker; lane < lanes; lane += workers {
				for _, i := range order.Lane(0, lane) {
					d.Prefetch(t.Context(), i)
					if _, _, err := d.Sample(t.Context(), i); err != nil {
						t.Fatal(err)
					}
				}
			}
			share := float64(d.Fetched()-indexes) / float64(d.Manifest().Bytes())
			if share < 0.9/workers || share > 1.15/workers {
				t.Errorf("%s: worker %d of %d has fetched %.3f of the dataset", name, worker, workers, share)
			}
		}
	}
}

// TestWaitersOutliveALoader cancels the goroutine that loads a shard while others wait for it.
func TestWaitersOutliveALoader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &counting{Bucket: mem.New()}
		packed(t, b.Bucket, 2, 2)
		d := openDataset(t, b)
		loader, cancelLoader := context.WithCancel(t.Context())
		waiter, cancelWaiter := context.WithCancel(t.Context())
		b.hold = func(ctx context.Context, _ string) error {
			if ctx == loader {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		errs := make([]error, 3)
		for i, ctx := range []context.Context{loader, waiter, t.Context()} {
			go func() { _, _, errs[i] = d.Sample(ctx, 1) }()
			synctest.Wait() // it loads, or waits for the loader
		}
		cancelWaiter()
		synctest.Wait()
		if !errors.Is(errs[1], context.Canceled) {
			t.Errorf("a waiter whose context ended: %v", errs[1])
		}
		cancelLoader()
		synctest.Wait()
		if !errors.Is(errs[0], context.Canceled) || errs[2] != nil {
			t.Errorf("the loader: %v, the other waiter: %v; want its own end, and success", errs[0], errs[2])
		}
		if n := b.count("shard-00000.tar"); n != 1 {
			t.Errorf("the shard was read %d times", n)
		}
	})
}

// TestDamageIsTold changes every object in several ways. Whatever is damaged, the error names the object.
func TestDamageIsTold(t *testing.T) {
	clean := mem.New()
	packed(t, clean, 6, 3)
	objects := content(t, clean)
	for key, data := range objects {
		changes := map[string][]byte{
			"missing": nil, "empty": {}, "cut": data[:len(data)-2], "longer": append(bytes.Clone(data), '\n', 'x'),
		}
		if key != "manifest.json" { // the digest is what vouches for the manifest's own bytes
			for _, i := range []int{0, len(data) / 2, len(data) - 1} {
				flipped := bytes.Clone(data)
				flipped[i] ^= 1
				changes[fmt.Sprintf("byte %d flipped", i)] = flipped
			}
		}
		for what, changed := range changes {
			b := mem.New()
			for k, v := range objects {
				write(t, b, k, v)
			}
			if changed != nil {
				write(t, b, key, changed)
			} else if err := b.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			err := readAll(t, b)
			wrong := !errors.Is(err, dataset.ErrDamaged)
			if key == "manifest.json" && changed == nil {
				wrong = !errors.Is(err, storage.ErrNotFound)
			}
			if wrong || !strings.Contains(err.Error(), key) && changed != nil || !strings.Contains(err.Error(), "again") &&
				!strings.Contains(err.Error(), "pack images") {
				t.Errorf("%s %s: %v; want an error that names the object and what to do", key, what, err)
			}
		}
	}
}

// readAll uses every sample once and returns the first error, or that of an inspection.
func readAll(t *testing.T, b storage.Bucket) error {
	d, err := dataset.Open(t.Context(), b)
	if err != nil {
		return err
	}
	if err := each(t, d); err != nil {
		return err
	}
	s, err := d.Inspect(t.Context(), dataset.InspectOptions{})
	if err == nil && len(s.Damaged) > 0 {
		err = s.Damaged[0]
	}
	return err
}

// each uses every sample once.
func each(t *testing.T, d *dataset.Dataset) error {
	for i := range d.Count() {
		if _, _, err := d.Sample(t.Context(), i); err != nil {
			return err
		}
	}
	return nil
}

// TestFailureIsNotKept checks that a shard is tried again after an error.
func TestFailureIsNotKept(t *testing.T) {
	b := &counting{Bucket: mem.New()}
	packed(t, b.Bucket, 2, 2)
	d := openDataset(t, b)
	broken := errors.New("the line is down")
	b.hold = func(context.Context, string) error { return broken }
	if _, _, err := d.Sample(t.Context(), 0); !errors.Is(err, broken) || errors.Is(err, dataset.ErrDamaged) ||
		!strings.Contains(err.Error(), "shard 0") {
		t.Errorf("Sample = %v, want the bucket's error and the shard", err)
	}
	b.hold = nil
	if _, _, err := d.Sample(t.Context(), 0); err != nil {
		t.Errorf("Sample after the bucket has come back = %v", err)
	}
}

func TestInspect(t *testing.T) {
	b := mem.New()
	m := packed(t, b, 12, 5)
	s, err := openDataset(t, b).Inspect(t.Context(), dataset.InspectOptions{Decode: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Count != 12 || s.Shards != 3 || s.Bytes != m.Bytes() || s.Unlabelled != 2 || s.Labels[0] != 5 ||
		s.Labels[1] != 5 || s.Images <= 0 || s.Images >= s.Bytes || len(s.Damaged) != 0 {
		t.Errorf("Inspect = %+v", s)
	}
	write(t, b, "shard-00001.tar", []byte("x"))
	if err := b.Delete(t.Context(), "shard-00002.json"); err != nil {
		t.Fatal(err)
	}
	s, err = openDataset(t, b).Inspect(t.Context(), dataset.InspectOptions{Decode: true})
	if err != nil || s.Count != 5 || s.Shards != 1 || len(s.Damaged) != 2 ||
		!strings.Contains(s.Damaged[0].Error(), "shard-00001.tar") ||
		!strings.Contains(s.Damaged[1].Error(), "shard-00002.json") {
		t.Errorf("Inspect of a damaged dataset = %+v, %v", s, err)
	}
}
