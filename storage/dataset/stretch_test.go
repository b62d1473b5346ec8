package dataset_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/diskcache"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

// late is a bucket whose answers take a while to begin, whatever their size.
type late struct {
	counting
	wait time.Duration
}

func (l *late) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	begin := time.NewTimer(l.wait)
	defer begin.Stop()
	select {
	case <-begin.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return l.counting.Get(ctx, key, offset, length)
}

// shardGets are the requests for images so far.
func (c *counting) shardGets() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, gets := range c.gets {
		if strings.HasSuffix(key, ".tar") {
			n += gets
		}
	}
	return n
}

// noisy packs images of 16 KB that are no pictures, in shards of 400.
func noisy(t *testing.T, b storage.Bucket, count int) dataset.Manifest {
	t.Helper()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if err := w.Add(t.Context(), fmt.Sprintf("%d.pgm", i), -1, noise(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.Manifest()
}

// noise is image i.
func noise(i int) []byte {
	return append([]byte("P5 128 128 255 "), bytes.Repeat([]byte{byte(i), byte(i >> 8), byte(i * 7), byte(i * 11)}, 1<<12)...)
}

// TestNeighboursComeAlong reads an epoch of one worker of two through the cache on disk, from a store whose answers take a while
// to begin and from one whose bytes take a while. The first gets few large requests, the second asks for each image when it is
// needed; both send about half of the dataset.
func TestNeighboursComeAlong(t *testing.T) {
	const count, lanes, chunk = 800, 2, 64
	inner := mem.New()
	m := noisy(t, inner, count)
	order := dataset.Order{Count: count, Batch: 40, Lanes: lanes, Chunk: chunk, ShardCounts: m.ShardCounts(), Seed: 3}
	read := func(t *testing.T, b storage.Bucket) *dataset.Dataset {
		d := openDataset(t, b, dataset.Block(chunk), dataset.CacheBytes(1<<20), dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil)))
		for _, i := range order.Lane(0, 1) {
			if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
				t.Fatalf("image %d: %d bytes, %v", i, len(data), err)
			}
		}
		return d
	}
	for name, most := range map[string]int{"late": count / lanes / 8, "slow": count / lanes} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{counting: counting{Bucket: inner}, wait: 10 * time.Millisecond}
			b := storage.Bucket(l)
			if name == "slow" {
				l.wait = 0
				b = &storagetest.Throttled{Bucket: l, Rate: func(time.Duration) float64 { return 1e6 }}
			}
			d := read(t, b)
			gets, share := l.shardGets(), float64(d.Fetched())/float64(m.Bytes())
			t.Logf("%s: %d requests for %d images, %.3f of the dataset", name, gets, count/lanes, share)
			if gets > most || name == "slow" && gets < most/2 {
				t.Errorf("%s: %d requests for %d images", name, gets, count/lanes)
			}
			if share < 0.9/lanes || share > 1.2/lanes {
				t.Errorf("%s: %.3f of the dataset was fetched, want about a half", name, share)
			}
		})
	}
}

// TestNoRoomForNeighbours reads two epochs through caches that are too small or cannot be written: though the store is slow to begin,
// not much more is fetched than the images that are wanted.
func TestNoRoomForNeighbours(t *testing.T) {
	const count, epochs = 1600, 3
	inner := mem.New()
	m := noisy(t, inner, count)
	for name, disk := range map[string]*diskcache.Cache{
		"small": diskcache.New(t.TempDir(), m.Bytes()/8, nil), "none": diskcache.New("/dev/null/x", 1<<30, nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &late{counting: counting{Bucket: inner}, wait: 10 * time.Millisecond}
			d := openDataset(t, l, dataset.Block(64), dataset.CacheBytes(1<<16), dataset.Disk(disk))
			for epoch := range epochs {
				for _, i := range random.New(random.PurposeTest, uint64(epoch)).Perm(count) {
					if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
						t.Fatalf("image %d: %d bytes, %v", i, len(data), err)
					}
				}
			}
			share := float64(d.Fetched()) / float64(m.Bytes())
			t.Logf("%s: %.2f times the dataset in %d epochs, %d requests", name, share, epochs, l.shardGets())
			if share > 1.3*epochs {
				t.Errorf("%s: %.2f times the dataset was fetched in %d epochs", name, share, epochs)
			}
		})
	}
}

// TestNeighboursStayInMemory takes the cache on disk away when nearly all has come along: what there was room for in memory is not
// fetched again, and the rest is.
func TestNeighboursStayInMemory(t *testing.T) {
	const count = 400
	inner := mem.New()
	m := noisy(t, inner, count)
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		l := &late{counting: counting{Bucket: inner}, wait: 10 * time.Millisecond}
		limit := m.Bytes() / 2
		d := openDataset(t, l, dataset.Block(64), dataset.CacheBytes(limit), dataset.Disk(diskcache.New(folder, 1<<30, nil)))
		order := random.New(random.PurposeTest, 1).Perm(count)
		read := func(numbers []int) {
			for _, i := range numbers {
				if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
					t.Fatalf("image %d: %d bytes, %v", i, len(data), err)
				}
			}
		}
		read(order[:count/8])
		if d.Fetched() < m.Bytes()*9/10 {
			t.Fatalf("%d bytes of %d have come", d.Fetched(), m.Bytes())
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		before := l.shardGets()
		read(order[count/8:])
		again, rest := l.shardGets()-before, count-count/8
		t.Logf("%d of %d images were fetched again", again, rest)
		if again > rest*2/3 || again < rest/3 {
			t.Errorf("%d of %d images were fetched again; memory has room for a half", again, rest)
		}
	})
}

// TestNextEpochFindsAShare reads epochs of a dataset that is twice as large as its memory, without a cache on disk: each after the
// first finds about half of the images there.
func TestNextEpochFindsAShare(t *testing.T) {
	const count, epochs = 400, 4
	b := &counting{Bucket: mem.New()}
	m := noisy(t, b.Bucket, count)
	d := openDataset(t, b, dataset.CacheBytes(m.Bytes()/2))
	for epoch := range epochs {
		before := b.shardGets()
		for at, order := 0, random.New(random.PurposeTest, uint64(epoch)).Perm(count); at < count; at += 10 {
			d.Prefetch(t.Context(), order[at:][:10]...)
			for _, i := range order[at:][:10] {
				if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
					t.Fatalf("image %d: %d bytes, %v", i, len(data), err)
				}
			}
		}
		gets := b.shardGets() - before
		t.Logf("epoch %d: %d requests", epoch, gets)
		if epoch > 0 && gets > count*6/10 {
			t.Errorf("epoch %d: %d of %d images were fetched again", epoch, gets, count)
		}
	}
}

// TestNothingIsFetchedTwice has many goroutines read and prefetch at the same time, with neighbours that come along: every image
// is right, and each byte is fetched once.
func TestNothingIsFetchedTwice(t *testing.T) {
	const count = 300
	inner := mem.New()
	noisy(t, inner, count)
	images := int64(0)
	for i := range count {
		images += int64(len(noise(i)))
	}
	synctest.Test(t, func(t *testing.T) {
		b := &late{counting: counting{Bucket: inner}, wait: time.Millisecond}
		d := openDataset(t, b, dataset.Block(32), dataset.CacheBytes(1<<18), dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil)))
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				order := random.New(random.PurposeTest, uint64(g)).Perm(count)
				for at := 0; at < count; at += 25 {
					for _, group := range d.Plan(order[at:][:25], 4) {
						d.Prefetch(t.Context(), group...)
					}
					for _, i := range order[at:][:25] {
						if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
							t.Errorf("image %d: %d bytes, %v", i, len(data), err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		// Between images lie the headers of the tar file, 512 bytes each, and their padding.
		if got, most := d.Fetched(), images+count*2048+int64(200*count); got < images || got > most {
			t.Errorf("%d bytes were fetched of images of %d", got, images)
		}
	})
}

// TestStoreThatLies reads through a store of which every third answer has a flipped bit, and others are cut off: what comes out
// is right, or an error.
func TestStoreThatLies(t *testing.T) {
	const count = 200
	inner := mem.New()
	noisy(t, inner, count)
	for name, options := range map[string][]dataset.Option{
		"memory": {dataset.Block(8)},
		"disk":   {dataset.Block(8), dataset.CacheBytes(1 << 16), dataset.Disk(diskcache.New(t.TempDir(), 1<<30, nil))},
	} {
		r, gets := random.New(random.PurposeTest, 5), 0
		b := &storagetest.Flaky{Bucket: inner, Next: func(_, key string) storagetest.Trouble {
			if !strings.HasSuffix(key, ".tar") {
				return storagetest.None
			}
			if gets++; gets%3 == 1 {
				return storagetest.Corrupts
			}
			if r.IntN(10) == 0 {
				return storagetest.CutOff
			}
			return storagetest.None
		}}
		d, failed := openDataset(t, b, options...), 0
		for _, i := range r.Perm(count) {
			d.Prefetch(t.Context(), i, (i+1)%count)
			_, data, err := d.Sample(t.Context(), i)
			switch {
			case errors.Is(err, storagetest.ErrInjected):
				failed++
			case err != nil || !bytes.Equal(data, noise(i)):
				t.Fatalf("%s: image %d: %d bytes, %v", name, i, len(data), err)
			}
		}
		if failed > count/10 || gets < count/8 {
			t.Errorf("%s: %d of %d images failed, %d answers", name, failed, count, gets)
		}
	}
}

// TestPlan draws wishes: a plan has each unit of them once, in groups of neighbours, the one that is wanted first in front.
func TestPlan(t *testing.T) {
	b := mem.New()
	m := packed(t, b, 300, 90)
	r := random.New(random.PurposeTest, 31)
	for _, block := range []int{1, 7, 64} {
		for _, memory := range []int64{1, 1 << 30} {
			d := openDataset(t, b, dataset.Block(block), dataset.CacheBytes(memory))
			if memory == 1 {
				block = 1
			}
			unit := func(i int) [2]int { return [2]int{i / 90, i % 90 / block} }
			for range 50 {
				numbers := make([]int, 1+r.IntN(120))
				want := map[[2]int]bool{}
				for i := range numbers {
					numbers[i] = r.IntN(m.Count)
					want[unit(numbers[i])] = true
				}
				parallel := 1 + r.IntN(8)
				plan := d.Plan(append([]int{-1, m.Count}, numbers...), parallel)
				if len(plan) < min(parallel, len(want)) && len(plan)*((len(want)+parallel-1)/parallel) < len(want) {
					t.Fatalf("%d groups of %d units for %d places", len(plan), len(want), parallel)
				}
				if !slices.ContainsFunc(plan[0], func(i int) bool { return unit(i) == unit(numbers[0]) }) {
					t.Fatalf("image %d is wanted first, but %v is the first group", numbers[0], plan[0])
				}
				for _, group := range plan {
					for i, number := range group {
						u := unit(number)
						if !want[u] {
							t.Fatalf("unit %v comes twice, or is not wanted", u)
						}
						delete(want, u)
						if before := unit(group[max(i-1, 0)]); i > 0 && (before[0] != u[0] || before[1]+1 != u[1]) {
							t.Fatalf("units %v and %v make one request", before, u)
						}
					}
				}
				if len(want) > 0 {
					t.Fatalf("the plan lacks %v", want)
				}
			}
		}
	}
}

// TestDiskIsTorn damages the files of the cache on disk at random between rounds: cut, holes, flipped bits, gone. Every image
// stays right, and what is whole is not fetched again.
func TestDiskIsTorn(t *testing.T) {
	const count = 300
	inner := mem.New()
	m := noisy(t, inner, count)
	folder := t.TempDir()
	r := random.New(random.PurposeTest, 77)
	for round := range 12 {
		d := openDataset(t, inner, dataset.Block(16), dataset.CacheBytes(1<<16), dataset.Disk(diskcache.New(folder, 1<<30, nil)))
		for _, i := range r.Perm(count)[:count/2] {
			if _, data, err := d.Sample(t.Context(), i); err != nil || !bytes.Equal(data, noise(i)) {
				t.Fatalf("round %d, image %d: %d bytes, %v", round, i, len(data), err)
			}
		}
		if round > 6 && d.Fetched() > m.Bytes()/2 {
			t.Errorf("round %d: %d bytes of %d were fetched again", round, d.Fetched(), m.Bytes())
		}
		pieces, err := filepath.Glob(filepath.Join(folder, "*.piece"))
		if err != nil || len(pieces) == 0 {
			t.Fatal(pieces, err)
		}
		tear(t, r, pieces[r.IntN(len(pieces))], round)
	}
}

// tear damages a file in one of four ways.
func tear(t *testing.T, r *random.Stream, path string, way int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch way % 4 {
	case 0:
		err = os.Truncate(path, int64(r.IntN(len(data))))
	case 1:
		from := r.IntN(len(data))
		clear(data[from:min(from+20_000, len(data))])
		err = os.WriteFile(path, data, 0o644)
	case 2:
		data[r.IntN(len(data))] ^= 4
		err = os.WriteFile(path, data, 0o644)
	case 3:
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
