package dataset_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"sync"
	"testing"

	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/dir"
	"pupil/storage/mem"
)

// grey returns a PNG whose pixels all have one value, with a size of its own.
func grey(t testing.TB, width int, value uint8) []byte {
	m := image.NewGray(image.Rect(0, 0, width, 2))
	for i := range m.Pix {
		m.Pix[i] = value
	}
	return encode(t, m)
}

// coloured returns a PNG of one pixel.
func coloured(t testing.TB, c color.Color) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	m.Set(0, 0, c)
	return encode(t, m)
}

func encode(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var classes = []string{"cat", "dog"}

// packed writes n images of two classes, every fifth without a label, in shards of size. Image i is named i.png and is
// i+1 pixels wide.
func packed(t testing.TB, b storage.Bucket, n, size int) dataset.Manifest {
	t.Helper()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{ShardSize: size, Classes: classes})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Add(context.Background(), fmt.Sprintf("%d.png", i), label(i), grey(t, i+1, uint8(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w.Manifest()
}

func label(i int) int {
	if i%5 == 4 {
		return -1
	}
	return i % 2
}

func name(i int) string {
	if label(i) < 0 {
		return fmt.Sprintf("%d.png", i)
	}
	return fmt.Sprintf("%s/%d.png", classes[label(i)], i)
}

func openDataset(t testing.TB, b storage.Bucket, options ...dataset.Option) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(context.Background(), b, options...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// content returns all objects of a bucket.
func content(t testing.TB, b storage.Bucket) map[string][]byte {
	t.Helper()
	objects, err := b.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, o := range objects {
		if out[o.Key], err = storage.ReadAll(context.Background(), b, o.Key, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func write(t testing.TB, b storage.Bucket, key string, data []byte) {
	t.Helper()
	if err := storage.WriteAll(context.Background(), b, key, data); err != nil {
		t.Fatal(err)
	}
}

// buckets runs a test on a fresh bucket of each kind.
func buckets(t *testing.T, test func(t *testing.T, b storage.Bucket)) {
	t.Run("mem", func(t *testing.T) { test(t, mem.New()) })
	t.Run("dir", func(t *testing.T) {
		b, err := dir.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		test(t, b)
	})
}

// counting counts the Gets of each key, and can hold them up.
type counting struct {
	storage.Bucket
	mu   sync.Mutex
	gets map[string]int
	hold func(ctx context.Context, key string) error // called before a Get; may block
}

func (c *counting) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	if c.gets == nil {
		c.gets = map[string]int{}
	}
	c.gets[key]++
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		if err := hold(ctx, key); err != nil {
			return nil, err
		}
	}
	return c.Bucket.Get(ctx, key, offset, length)
}

func (c *counting) count(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets[key]
}
