package feed_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"sync"
	"testing"

	"pupil/augment"
	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/mem"
)

const size = 8 // of the test's images and views

// picture is a grey PNG of noise; its first pixel is the sample's number.
func picture(tb testing.TB, number int) []byte {
	tb.Helper()
	m := image.NewGray(image.Rect(0, 0, size, size))
	s := random.New(random.PurposeTest, uint64(number))
	for i := range m.Pix {
		m.Pix[i] = uint8(s.IntN(256))
	}
	m.Pix[0] = uint8(number)
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// pack makes a dataset of count images in shards of a size, with labels number % 2, and opens it.
func pack(tb testing.TB, count, shard int) (*mem.Bucket, *dataset.Dataset) {
	tb.Helper()
	b := mem.New()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: shard, Classes: []string{"even", "odd"}})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range count {
		if err := w.Add(tb.Context(), fmt.Sprintf("%04d.png", i), i%2, picture(tb, i)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return b, open(tb, b)
}

func open(tb testing.TB, b storage.Bucket, options ...dataset.Option) *dataset.Dataset {
	tb.Helper()
	d, err := dataset.Open(tb.Context(), b, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// damage makes images undecodable, with hashes that are right: what a packer would do that does not decode.
func damage(tb testing.TB, b *mem.Bucket, numbers ...int) *dataset.Dataset {
	tb.Helper()
	d := open(tb, b)
	m := d.Manifest()
	shards := map[int][]byte{}
	for _, n := range numbers {
		s, encoded, err := d.Sample(tb.Context(), n)
		if err != nil {
			tb.Fatal(err)
		}
		if shards[s.Shard] == nil {
			shards[s.Shard] = read(tb, b, m.Shards[s.Shard].Name)
		}
		at := bytes.Index(shards[s.Shard], encoded)
		copy(shards[s.Shard][at+20:], "damaged beyond repair")
		sum := func(data []byte) string { h := sha256.Sum256(data); return hex.EncodeToString(h[:]) }
		info := &m.Shards[s.Shard]
		old, changed := sum(encoded)[:16], sum(shards[s.Shard][at : at+len(encoded)])[:16]
		index := bytes.Replace(read(tb, b, info.Index()), []byte(old), []byte(changed), 1)
		write(tb, b, info.Index(), index)
		info.IndexSHA256 = sum(index)
	}
	for i, data := range shards {
		sum := sha256.Sum256(data)
		m.Shards[i].SHA256 = hex.EncodeToString(sum[:])
		write(tb, b, m.Shards[i].Name, data)
	}
	data, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	write(tb, b, dataset.ManifestKey, data)
	return open(tb, b)
}

func read(tb testing.TB, b storage.Bucket, key string) []byte {
	tb.Helper()
	data, err := storage.ReadAll(tb.Context(), b, key, 1<<20)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func write(tb testing.TB, b storage.Bucket, key string, data []byte) {
	tb.Helper()
	if err := storage.WriteAll(tb.Context(), b, key, data); err != nil {
		tb.Fatal(err)
	}
}

func order(d *dataset.Dataset, batch, lanes, chunk int) dataset.Order {
	m := d.Manifest()
	return dataset.Order{
		Count: m.Count, Batch: batch, Lanes: lanes, Chunk: chunk, ShardCounts: m.ShardCounts(), Seed: 7,
	}
}

func pipeline(tb testing.TB, c augment.Config) *augment.Pipeline {
	tb.Helper()
	c.Size, c.Channels = size, 1
	p, err := augment.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func weak(tb testing.TB) *augment.Pipeline {
	tb.Helper()
	return pipeline(tb, augment.Config{Flip: 0.5, Mean: []float64{0.5}, Std: []float64{0.25}})
}

func strong(tb testing.TB) *augment.Pipeline {
	tb.Helper()
	return pipeline(tb, augment.Config{
		Crop: augment.Crop{Scale: [2]float64{0.3, 1}, Ratio: [2]float64{0.75, 1.33}}, Rotate: 20, Brightness: 0.4,
	})
}

// counter is a bucket that counts the shards that were read.
type counter struct {
	storage.Bucket
	mu    sync.Mutex
	reads map[string]int
}

func (c *counter) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	c.reads[key]++
	c.mu.Unlock()
	return c.Bucket.Get(ctx, key, offset, length)
}

// tars is how many shards were read.
func (c *counter) tars() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for key := range c.reads {
		if key[len(key)-4:] == ".tar" {
			n++
		}
	}
	return n
}

// views are independent ones; the teacher's pipeline may be nil.
func views(t testing.TB, teacher, student *augment.Pipeline) *augment.Views {
	t.Helper()
	v, err := augment.NewViews(teacher, student, augment.PolicyIndependent)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
