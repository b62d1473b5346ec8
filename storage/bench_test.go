package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"pupil/internal/random"
	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/dataset"
	"pupil/storage/dir"
	"pupil/storage/diskcache"
	"pupil/storage/mem"
	"pupil/storage/s3"
	"pupil/storage/safetensors"
)

// plain is minio-go without anything of ours, and ours, on one bucket of a server.
func plain(b *testing.B, start func(testing.TB) *teststore.Server) (*minio.Client, string, *s3.Bucket) {
	b.Helper()
	server := start(b)
	name := server.Bucket(b)
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		b.Fatal(err)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(teststore.AccessKey, teststore.SecretKey, ""), Region: "us-east-1",
	})
	if err != nil {
		b.Fatal(err)
	}
	ours, err := s3.Open(b.Context(), s3.Config{
		Bucket: name, Endpoint: server.Endpoint, AccessKey: teststore.AccessKey, SecretKey: teststore.SecretKey, Credentials: s3.Environment,
	})
	if err != nil {
		b.Fatal(err)
	}
	return client, name, ours
}

// noise is data that no compression makes smaller.
func noise(n int, key uint64) []byte {
	r := random.New(random.PurposeTest, key)
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.IntN(256))
	}
	return out
}

// photographs writes JPEG images of 256 x 256 pixels.
func photographs(b *testing.B, count int) string {
	b.Helper()
	root := b.TempDir()
	m := image.NewRGBA(image.Rect(0, 0, 256, 256))
	for i := range count {
		for p := range m.Pix {
			m.Pix[p] = byte(p/256*i>>3) + byte(p*7)
		}
		var buffer bytes.Buffer
		if err := jpeg.Encode(&buffer, m, nil); err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(root, fmt.Sprint(i%4), fmt.Sprintf("%d.jpg", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, buffer.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

func BenchmarkImport(b *testing.B) {
	const count = 400
	root := photographs(b, count)
	for b.Loop() {
		s, err := dataset.OpenSource(b.Context(), root, "", nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := dataset.Import(b.Context(), mem.New(), s, dataset.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count*b.N)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkGet reads an object of 64 MB: minio-go alone, and ours.
func BenchmarkGet(b *testing.B) {
	client, bucket, ours := plain(b, teststore.MinIO)
	const size = 64 << 20
	if err := storage.WriteAll(b.Context(), ours, "large", noise(size, 1)); err != nil {
		b.Fatal(err)
	}
	b.Run("minio-go", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			o, err := client.GetObject(b.Context(), bucket, "large", minio.GetObjectOptions{})
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, o); err != nil || n != size {
				b.Fatal(n, err)
			}
			o.Close()
		}
	})
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			r, err := ours.Get(b.Context(), "large", 0, -1)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != size {
				b.Fatal(n, err)
			}
			r.Close()
		}
	})
}

// asked counts the requests for objects.
type asked struct {
	storage.Bucket
	gets atomic.Int64
}

// Get implements storage.Bucket.
func (a *asked) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	a.gets.Add(1)
	return a.Bucket.Get(ctx, key, offset, length)
}

// cpuTime is what this process has used, which others on the machine change less than the time that passes.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStream reads the images of an epoch of one lane, every hash checked, from a cold start; beside it plain GETs of the
// same bytes by minio-go.
func BenchmarkStream(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *teststore.Server{"minio": teststore.MinIO, "versitygw": teststore.Versity} {
		b.Run(name, func(b *testing.B) { stream(b, start) })
	}
}

func stream(b *testing.B, start func(testing.TB) *teststore.Server) {
	client, bucket, ours := plain(b, start)
	const count, each, chunk = 2000, 20_000, 64
	w, err := dataset.NewWriter(ours, dataset.WriterOptions{ShardSize: 500})
	if err != nil {
		b.Fatal(err)
	}
	header := []byte("P5 200 100 255 ")
	for i := range count {
		if err := w.Add(b.Context(), fmt.Sprintf("%d.pgm", i), -1, append(header[:len(header):len(header)], noise(each, uint64(i))...)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	m := w.Manifest()
	order := dataset.Order{Count: count, Batch: 100, Lanes: 1, Chunk: chunk, ShardCounts: m.ShardCounts(), Seed: 1}
	b.Run("minio-go", func(b *testing.B) {
		b.SetBytes(m.Bytes())
		cpu := cpuTime(b)
		defer func() { b.ReportMetric(float64((cpuTime(b)-cpu).Milliseconds())/float64(b.N), "cpu-ms/op") }()
		for b.Loop() {
			for _, s := range m.Shards {
				o, err := client.GetObject(b.Context(), bucket, s.Name, minio.GetObjectOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, o); err != nil {
					b.Fatal(err)
				}
				o.Close()
			}
		}
	})
	const workers, fetchers, ahead = 4, 8, 9 // as of a feed
	counted := &asked{Bucket: ours}
	read := func(b *testing.B, options ...dataset.Option) {
		d, err := dataset.Open(b.Context(), counted, append(options, dataset.Block(chunk))...)
		if err != nil {
			b.Fatal(err)
		}
		lane := order.Lane(0, 0)
		var next atomic.Int64
		var all sync.WaitGroup
		wanted := make(chan []int)
		all.Go(func() {
			defer close(wanted)
			for at, n := 0, ahead*order.Batch; at < len(lane); at, n = at+n, order.Batch {
				for _, group := range d.Plan(lane[at:min(at+n, len(lane))], fetchers) {
					wanted <- group
				}
			}
		})
		for range fetchers {
			all.Go(func() {
				for group := range wanted {
					d.Prefetch(context.Background(), group...)
				}
			})
		}
		for range workers {
			all.Go(func() {
				for i := int(next.Add(1)) - 1; i < len(lane); i = int(next.Add(1)) - 1 {
					if _, _, err := d.Sample(context.Background(), lane[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	for name, options := range map[string]func() []dataset.Option{
		"memory": func() []dataset.Option { return nil },
		"disk": func() []dataset.Option {
			return []dataset.Option{dataset.CacheBytes(m.Bytes() / 2), dataset.Disk(diskcache.New(b.TempDir(), 1<<30, nil))}
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(m.Bytes())
			cpu, requests := cpuTime(b), counted.gets.Load()
			for b.Loop() {
				read(b, options()...)
			}
			b.ReportMetric(float64((cpuTime(b)-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(counted.gets.Load()-requests)/float64(b.N), "requests/op")
		})
	}
}

// BenchmarkCheckpoint saves and restores 96 MB in four parts; beside it a plain copy of the same bytes.
func BenchmarkCheckpoint(b *testing.B) {
	_, _, store := plain(b, teststore.MinIO)
	folder, err := dir.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	const size = 24 << 20
	parts := map[string]*safetensors.File{}
	for i := range 4 {
		parts[fmt.Sprintf("part%d", i)] = &safetensors.File{Tensors: []safetensors.Tensor{
			{Name: "t", DType: safetensors.U8, Shape: []int{size}, Data: noise(size, uint64(i))},
		}}
	}
	for name, bucket := range map[string]storage.Bucket{"folder": folder, "minio": store} {
		b.Run(name+"/copy", func(b *testing.B) {
			b.SetBytes(4 * size)
			for b.Loop() {
				for key, f := range parts {
					if err := storage.WriteAll(b.Context(), bucket, "plain/"+key, f.Tensors[0].Data); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(name+"/save", func(b *testing.B) {
			b.SetBytes(4 * size)
			for b.Loop() {
				if err := checkpoint.Save(b.Context(), bucket, checkpoint.Manifest{Step: 1}, parts); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			b.SetBytes(4 * size)
			for b.Loop() {
				for key := range parts {
					if _, err := storage.ReadSized(b.Context(), bucket, "plain/"+key, size); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(name+"/restore", func(b *testing.B) {
			b.SetBytes(4 * size)
			for b.Loop() {
				if _, _, err := checkpoint.Load(b.Context(), bucket, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
