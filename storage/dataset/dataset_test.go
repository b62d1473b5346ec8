package dataset_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/dataset"
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

func TestCacheIsBounded(t *testing.T) {
	b := &counting{Bucket: mem.New()}
	m := packed(t, b.Bucket, 8, 2) // four shards
	use := func(d *dataset.Dataset, shards ...int) {
		t.Helper()
		for _, shard := range shards {
			if _, _, err := d.Sample(t.Context(), 2*shard); err != nil {
				t.Fatal(err)
			}
		}
	}
	reads := func() (n [4]int) {
		for i := range n {
			n[i] = b.count(fmt.Sprintf("shard-%05d.tar", i))
		}
		return n
	}
	two := m.Shards[0].Size*2 + 1000 // room for two shards and their indexes
	d := openDataset(t, b, dataset.CacheBytes(two))
	use(d, 0, 1, 0, 1, 0) // both stay
	if got, want := reads(), [4]int{1, 1, 0, 0}; got != want {
		t.Errorf("reads %v, want %v", got, want)
	}
	use(d, 2, 0, 1) // 2 drops 1, the one not used for longest; 1 drops 2
	if got, want := reads(), [4]int{1, 2, 1, 0}; got != want {
		t.Errorf("reads %v, want %v", got, want)
	}
	use(openDataset(t, b, dataset.CacheBytes(0)), 3, 3, 3, 2, 3) // the last one stays all the same
	if got, want := reads(), [4]int{1, 2, 2, 2}; got != want {
		t.Errorf("reads %v, want %v", got, want)
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

// readAll uses every sample once and returns the first error.
func readAll(t *testing.T, b storage.Bucket) error {
	d, err := dataset.Open(t.Context(), b)
	if err != nil {
		return err
	}
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
