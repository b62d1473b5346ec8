package augment_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"syscall"
	"testing"

	"pupil/augment"
	"pupil/internal/random"
)

// smooth is a picture with some structure, so that encoders have something to do.
func smooth(width, height int, grey bool) image.Image {
	s := random.New(random.PurposeTest, 77)
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			noise := s.IntN(16)
			c := color.RGBA{uint8(200*x/width + noise), uint8(200*y/height + noise), uint8(100 + (x*y)%64 + noise), 255}
			m.SetRGBA(x, y, c)
		}
	}
	if !grey {
		return m
	}
	g := image.NewGray(m.Rect)
	for y := range height {
		for x := range width {
			g.Set(x, y, m.At(x, y))
		}
	}
	return g
}

func encodePNG(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// weak and strong are views as a job has them.
func weak(size, channels int) augment.Config {
	c := augment.Config{Size: size, Channels: channels, Flip: 0.5, Mean: []float64{0.5}, Std: []float64{0.25}}
	if channels == 3 {
		c.Mean, c.Std = []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	}
	c.Crop = augment.Crop{Scale: [2]float64{0.8, 1}, Ratio: [2]float64{0.9, 1.1}}
	return c
}

func strong(size, channels int) augment.Config {
	c := weak(size, channels)
	c.Crop = augment.Crop{Scale: [2]float64{0.3, 1}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}}
	c.Rotate, c.Brightness = 15, 0.4
	c.Occlude = augment.Occlude{Probability: 0.5, Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}}
	return c
}

func pipeline(tb testing.TB, c augment.Config) *augment.Pipeline {
	tb.Helper()
	p, err := augment.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func decode(tb testing.TB, data []byte, channels int) *augment.Image {
	tb.Helper()
	img, err := augment.Decode(data, channels)
	if err != nil {
		tb.Fatal(err)
	}
	return img
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name     string
		data     []byte
		channels int
	}{
		{"png-28x28x1", encodePNG(b, smooth(28, 28, true)), 1},
		{"png-32x32x3", encodePNG(b, smooth(32, 32, false)), 3},
		{"jpeg-224x224x3", encodeJPEG(b, smooth(224, 224, false)), 3},
		{"jpeg-500x375x3", encodeJPEG(b, smooth(500, 375, false)), 3},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := augment.Decode(c.data, c.channels); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		name     string
		from     [2]int
		config   augment.Config
		channels int
	}{
		{"plain-28x28x1", [2]int{28, 28}, augment.Config{Size: 28, Channels: 1}, 1},
		{"weak-28x28x1", [2]int{28, 28}, weak(28, 1), 1},
		{"strong-28x28x1", [2]int{28, 28}, strong(28, 1), 1},
		{"weak-224x224x3", [2]int{224, 224}, weak(224, 3), 3},
		{"strong-224x224x3", [2]int{224, 224}, strong(224, 3), 3},
		{"weak-500x375x3-to-224", [2]int{500, 375}, weak(224, 3), 3},
	} {
		b.Run(c.name, func(b *testing.B) {
			img := decode(b, encodePNG(b, smooth(c.from[0], c.from[1], c.channels == 1)), c.channels)
			p := pipeline(b, c.config)
			dst := make([]float32, p.Len())
			b.SetBytes(int64(4 * len(dst)))
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				p.Apply(dst, img, augment.Key{Seed: 1, Sample: i, View: augment.StudentView})
			}
		})
	}
}

// A sample's whole way: decoding and both views.
func BenchmarkSample(b *testing.B) {
	for _, c := range []struct {
		name           string
		data           []byte
		size, channels int
	}{
		{"png-28x28x1", encodePNG(b, smooth(28, 28, true)), 28, 1},
		{"jpeg-224x224x3", encodeJPEG(b, smooth(224, 224, false)), 224, 3},
	} {
		b.Run(c.name, func(b *testing.B) {
			teacher, student := pipeline(b, weak(c.size, c.channels)), pipeline(b, strong(c.size, c.channels))
			dst := make([]float32, teacher.Len())
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				img, err := augment.Decode(c.data, c.channels)
				if err != nil {
					b.Fatal(err)
				}
				teacher.Apply(dst, img, augment.Key{Seed: 1, Sample: i, View: augment.TeacherView})
				student.Apply(dst, img, augment.Key{Seed: 1, Sample: i, View: augment.StudentView})
			}
		})
	}
}

// cpu is the processor time of this process so far, in nanoseconds.
func cpu(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

// Decoding and both views of testdata/photo.jpg, as testdata/bench_torchvision.py has torchvision make them. cpu-ns/op
// is processor time, with that of the garbage collector.
func BenchmarkTwoViews(b *testing.B) {
	data, err := os.ReadFile("testdata/photo.jpg")
	if err != nil {
		b.Fatal(err)
	}
	student := strong(224, 3)
	student.Crop.Scale = [2]float64{0.2, 1}
	v, err := augment.NewViews(pipeline(b, weak(224, 3)), pipeline(b, student), augment.PolicyIndependent)
	if err != nil {
		b.Fatal(err)
	}
	x, y := make([]float32, v.Teacher().Len()), make([]float32, v.Student().Len())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	before := cpu(b)
	for i := uint64(0); b.Loop(); i++ {
		img, err := augment.DecodeOver(data, 3, v.Background())
		if err != nil {
			b.Fatal(err)
		}
		v.Apply(x, y, img, augment.Key{Seed: 1, Sample: i})
	}
	b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-ns/op")
}
