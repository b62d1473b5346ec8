package student_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/augment"
	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/student"
	"pupil/worker/student/images"
)

// small is an untrained network with all outputs.
func small(t testing.TB, architecture string, channels int) *student.Model {
	t.Helper()
	c := nn.ModelConfig{Config: nn.Config{
		Architecture: architecture, Width: 0.25, Outputs: 7, Size: 32, Channels: channels, Projection: 5,
	}}
	n, err := nn.New(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	s := n.NewState()
	n.Init(s, 3)
	m, err := student.NewModel(n, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// picture is a PNG of random pixels.
func picture(t testing.TB, seed uint64, width, height int) []byte {
	t.Helper()
	r := random.New(random.PurposeTest, seed)
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, color.RGBA{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// enormous is the beginning of a PNG of a billion pixels.
func enormous(side uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), side)
	head = append(binary.BigEndian.AppendUint32(head, side), 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
}

func album(t testing.TB, n int) *images.Set {
	t.Helper()
	var items []images.Item
	for i := range n {
		items = append(items, images.Of(fmt.Sprint(i), i%3, picture(t, uint64(i), 20+3*i, 50-i)))
	}
	return images.FromItems([]string{"a", "b", "c"}, items...)
}

// An image's outputs have the same bits whatever batch it is in, and come in order.
func TestStreamDoesNotDependOnBatchesAndThreads(t *testing.T) {
	const n = 23
	for _, architecture := range []string{"mobilenet_v2_cifar", "mobilenet_v3_small", "resnet10_cifar", "resnet18"} {
		m := small(t, architecture, 3)
		var want []student.Result
		for _, c := range []student.StreamConfig{
			{Batch: 1, Threads: 1}, {Batch: 1, Threads: 3}, {Batch: 5, Threads: 2}, {Batch: 7, Threads: 1}, {Batch: 64, Threads: 4}, {},
		} {
			var got []student.Result
			done := 0
			c.Progress = func(k int) { done = k }
			if err := m.Stream(t.Context(), album(t, n), c, func(r student.Result) error {
				got = append(got, r)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if done != n || len(got) != n {
				t.Fatalf("%d results, progress %d, want %d", len(got), done, n)
			}
			if want == nil {
				want = got
			}
			for i, g := range got {
				w := want[i]
				if g.Name != fmt.Sprint(i) || g.Label != i%3 || len(g.Logits) != 7 || len(g.Projection) != 5 ||
					!slices.Equal(g.Pooled, w.Pooled) || !slices.Equal(g.Logits, w.Logits) ||
					!slices.Equal(g.Projection, w.Projection) {
					t.Fatalf("%s, %+v: image %d differs", architecture, c, i)
				}
			}
		}
	}
}

// broken are images that no network can see, by what the error says.
func broken(t testing.TB) map[string][]byte {
	whole := picture(t, 1, 40, 40)
	return map[string][]byte{
		"unknown format":         []byte("this is no image"),
		"not enough pixel data":  whole[:len(whole)/2],
		"the image is too large": enormous(30000),
		"":                       nil,
	}
}

func TestBrokenImages(t *testing.T) {
	m := small(t, "mobilenet_v2_cifar", 1)
	for want, data := range broken(t) {
		set := func() *images.Set {
			return images.FromItems(nil, images.Of("good", -1, picture(t, 1, 8, 8)), images.Of("bad.png", -1, data),
				images.Of("one pixel", -1, picture(t, 2, 1, 1)))
		}
		err := m.Stream(t.Context(), set(), student.StreamConfig{}, func(student.Result) error { return nil })
		if !errors.Is(err, student.ErrBroken) || !strings.Contains(err.Error(), "bad.png: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want bad.png and %q", err, want)
		}
		var names []string
		err = m.Stream(t.Context(), set(), student.StreamConfig{SkipBroken: true}, func(r student.Result) error {
			if (r.Broken == nil) != (len(r.Pooled) > 0) {
				t.Errorf("%s has %d features and the error %v", r.Name, len(r.Pooled), r.Broken)
			}
			if r.Broken == nil {
				names = append(names, r.Name)
			}
			return nil
		})
		if err != nil || !slices.Equal(names, []string{"good", "one pixel"}) {
			t.Errorf("with %q left out: %q, %v", want, names, err)
		}
	}
}

func TestStreamEnds(t *testing.T) {
	m := small(t, "resnet10_cifar", 1)
	enough := errors.New("enough")
	calls := 0
	err := m.Stream(t.Context(), album(t, 40), student.StreamConfig{Batch: 4, Threads: 3}, func(student.Result) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d calls and %v", calls, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := m.Stream(ctx, album(t, 40), student.StreamConfig{}, func(student.Result) error { return nil }); !errors.Is(err, enough) {
		t.Errorf("got %v after the context ended", err)
	}
	if _, err := m.NewRunner(0); err == nil {
		t.Error("a batch of 0")
	}
}

func TestWith(t *testing.T) {
	m := small(t, "resnet10_cifar", 1)
	turned, err := augment.New(augment.Config{Size: 32, Channels: 1, Rotate: 180})
	if err != nil {
		t.Fatal(err)
	}
	other, err := m.With(turned)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Collect(t.Context(), album(t, 3), student.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.Collect(t.Context(), album(t, 3), student.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(a.Values, b.Values) || len(a.Values) != len(b.Values) {
		t.Error("another view gives the same features")
	}
	if _, err := m.With(small(t, "resnet10_cifar", 3).View()); err == nil {
		t.Error("a view of other channels was accepted")
	}
}

func save(t *testing.T, m *student.Model) storage.Bucket {
	t.Helper()
	b := mem.New()
	if err := nn.SaveFolder(t.Context(), b, m.Network, m.State, m.Config, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoad(t *testing.T) {
	m := small(t, "mobilenet_v2_cifar", 1)
	loaded, err := student.Load(t.Context(), save(t, m))
	if err != nil || len(loaded.Digest) != 64 || loaded.Config.Outputs != 7 {
		t.Fatalf("loaded %+v, %v", loaded, err)
	}
	m.State.Params[m.Network.Params()[4].Offset+1] = float32(math.NaN())
	if _, err := student.Load(t.Context(), save(t, m)); !errors.Is(err, student.ErrModel) ||
		!strings.Contains(err.Error(), m.Network.Params()[4].Name+" has the value NaN") {
		t.Errorf("NaN weights: %v", err)
	}
	other := save(t, small(t, "resnet10_cifar", 1))
	f, err := safetensors.Get(t.Context(), other, nn.WeightsFile)
	if err != nil {
		t.Fatal(err)
	}
	mixed := save(t, small(t, "mobilenet_v2_cifar", 1))
	if err := safetensors.Put(t.Context(), mixed, nn.WeightsFile, f); err != nil {
		t.Fatal(err)
	}
	if _, err := student.Load(t.Context(), mixed); !errors.Is(err, student.ErrModel) || !errors.Is(err, nn.ErrWeights) {
		t.Errorf("weights of another network: %v", err)
	}
	for _, folder := range []string{t.TempDir(), "/no/such/folder", "../nn"} {
		if _, err := student.Open(t.Context(), folder); !errors.Is(err, student.ErrModel) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// Weights that are finite, and give values that are not.
func TestValuesThatOverflow(t *testing.T) {
	m := small(t, "resnet10_cifar", 1)
	for i := range m.State.Params {
		m.State.Params[i] = 1e30
	}
	_, err := m.Collect(t.Context(), album(t, 1), student.StreamConfig{})
	if err == nil || !strings.Contains(err.Error(), "0: the network gives the value") {
		t.Errorf("got %v", err)
	}
}

func ExampleModel_Stream() {
	ctx := context.Background()
	m, err := student.Open(ctx, "../../deploy/examples/fashion-teacher")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := images.Open(ctx, []string{"../../deploy/examples/fashion-mnist/test"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	count := 0
	err = m.Stream(ctx, set, student.StreamConfig{Threads: 2}, func(r student.Result) error {
		if count++; count == 1 {
			fmt.Println(r.Name, "has", len(r.Pooled), "features")
		}
		return nil
	})
	fmt.Println(count, "images", err)
	// Output:
	// Ankle boot/00000.png has 128 features
	// 1000 images <nil>
}
