package jpeg_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pupil/augment/jpeg"
)

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Files that the package reads, with the pixels that PIL sees in them; those with an EXIF orientation are as stored in
// PIL's eyes only when that is 1.
var files = []string{
	"chroma-444.jpg", "chroma-422.jpg", "chroma-420.jpg", "chroma-440.jpg", "chroma-420-even.jpg",
	"chroma-420-narrow.jpg", "restart.jpg", "coarse.jpg", "noise-q100.jpg", "grey.jpg", "orientation-1.jpg",
}

func TestPixelsArePILs(t *testing.T) {
	var images map[string]struct {
		Width, Height, Channels int
		Pixels                  []byte
	}
	if err := json.Unmarshal(read(t, "images.json"), &images); err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		want := images[name]
		m, ok := jpeg.Decode(read(t, name))
		if !ok {
			t.Errorf("%s is not read", name)
			continue
		}
		if m.Width != want.Width || m.Height != want.Height || m.Channels != want.Channels ||
			!bytes.Equal(m.Pix, want.Pixels) {
			t.Errorf("%s: %d x %d x %d, want %d x %d x %d, or other pixels",
				name, m.Width, m.Height, m.Channels, want.Width, want.Height, want.Channels)
		}
	}
}

func TestOtherKindsAreLeft(t *testing.T) {
	for _, name := range []string{"progressive.jpg", "progressive-420.jpg", "cmyk.jpg", "ycck.jpg", "palette.png"} {
		if _, ok := jpeg.Decode(read(t, name)); ok {
			t.Errorf("%s was read", name)
		}
	}
	rgb := bytes.Clone(read(t, "chroma-444.jpg")) // components named R, G, B, without a JFIF segment, are not YCbCr
	app0 := bytes.Index(rgb, []byte{0xff, 0xe0})
	rgb[app0+1] = 0xef
	frame, scan := bytes.Index(rgb, []byte{0xff, 0xc0}), bytes.Index(rgb, []byte{0xff, 0xda})
	for i, c := range "RGB" {
		rgb[frame+10+3*i], rgb[scan+5+2*i] = byte(c), byte(c)
	}
	if _, err := stdjpeg.Decode(bytes.NewReader(rgb)); err != nil {
		t.Fatalf("the file is not what the test means: %v", err)
	}
	if _, ok := jpeg.Decode(rgb); ok {
		t.Error("RGB was read as YCbCr")
	}
}

// What is not whole is left to image/jpeg, at every length.
func TestCutFilesAreRefused(t *testing.T) {
	for _, name := range []string{"chroma-420.jpg", "restart.jpg", "grey.jpg"} {
		data := read(t, name)
		for n := range data {
			if _, ok := jpeg.Decode(data[:n]); ok {
				t.Fatalf("%s: its first %d of %d bytes were read", name, n, len(data))
			}
		}
	}
}

// A restart marker that is missing or out of order is not overlooked.
func TestRestartMarkersCount(t *testing.T) {
	data := read(t, "restart.jpg")
	for _, number := range []byte{0, 5} {
		at := bytes.LastIndex(data, []byte{0xff, 0xd0 + number})
		if at < 0 {
			t.Fatalf("there is no marker %d", number)
		}
		damaged := bytes.Clone(data)
		damaged[at+1] ^= 1
		if _, ok := jpeg.Decode(damaged); ok {
			t.Errorf("marker %d is another one, and the file was read", number)
		}
		if _, ok := jpeg.Decode(slices.Delete(bytes.Clone(data), at, at+2)); ok {
			t.Errorf("marker %d is missing, and the file was read", number)
		}
	}
}

// A decoder that is used again remembers nothing: a file without tables of its own is not read with another's.
func TestNothingIsRemembered(t *testing.T) {
	data := read(t, "chroma-420.jpg")
	for _, marker := range []byte{0xc4, 0xdb} {
		missing := bytes.Clone(data)
		for {
			at := bytes.Index(missing, []byte{0xff, marker})
			if at < 0 {
				break
			}
			missing[at+1] = 0xfe // a comment
		}
		for range 10 {
			if _, ok := jpeg.Decode(data); !ok {
				t.Fatal("the file is not read")
			}
			if _, ok := jpeg.Decode(missing); ok {
				t.Fatalf("a file without segments %#x was read", marker)
			}
		}
	}
}

// Any size, against image/jpeg: with chroma of full or half height and width the luma is the same within a rounding.
func TestEverySizeAgainstTheStandardLibrary(t *testing.T) {
	for width := 1; width <= 35; width += 2 {
		for height := 1; height <= 35; height += 3 {
			m := image.NewRGBA(image.Rect(0, 0, width, height))
			for y := range height {
				for x := range width {
					m.SetRGBA(x, y, color.RGBA{uint8(128 + 3*x), uint8(128 + 3*x), uint8(128 + 3*x), 255})
				}
			}
			var file bytes.Buffer
			if err := stdjpeg.Encode(&file, m, &stdjpeg.Options{Quality: 95}); err != nil { // 4:2:0
				t.Fatal(err)
			}
			want, err := stdjpeg.Decode(bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := jpeg.Decode(file.Bytes())
			if !ok || got.Width != width || got.Height != height {
				t.Fatalf("%d x %d: read %v, %+v", width, height, ok, got)
			}
			for i, v := range got.Pix {
				r, g, b, _ := want.At(i/3%width, i/3/width).RGBA()
				if d := int(v) - int([]uint32{r, g, b}[i%3]>>8); d < -3 || d > 3 {
					t.Fatalf("%d x %d: value %d is %d, and %d to image/jpeg", width, height, i, v, int(v)-d)
				}
			}
		}
	}
}

func TestDecodeAllocatesThePixelsOnly(t *testing.T) {
	data := read(t, "chroma-420.jpg")
	fewest := 100.0
	for range 20 {
		fewest = min(fewest, testing.AllocsPerRun(1, func() {
			if _, ok := jpeg.Decode(data); !ok {
				t.Fatal("the file is not read")
			}
		}))
	}
	if fewest > 2 {
		t.Errorf("%g allocations", fewest)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range append([]string{"progressive.jpg", "cmyk.jpg"}, files...) {
		data := read(f, name)
		f.Add(data)
		for _, at := range []int{len(data) / 3, len(data) / 2, len(data) - 20} {
			damaged := bytes.Clone(data)
			damaged[at] ^= 0x5a
			f.Add(damaged)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := stdjpeg.DecodeConfig(bytes.NewReader(data))
		if err == nil && c.Width*c.Height > 1<<20 {
			return // the caller checks the size
		}
		before := bytes.Clone(data)
		m, ok := jpeg.Decode(data)
		if !bytes.Equal(before, data) {
			t.Fatal("the data was changed")
		}
		if !ok {
			return
		}
		if err != nil || m.Width != c.Width || m.Height != c.Height {
			t.Fatalf("%d x %d, and to image/jpeg %d x %d, %v", m.Width, m.Height, c.Width, c.Height, err)
		}
		if (m.Channels != 1 && m.Channels != 3) || len(m.Pix) != m.Width*m.Height*m.Channels {
			t.Fatalf("%d x %d x %d with %d values", m.Width, m.Height, m.Channels, len(m.Pix))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := read(b, "photo.jpg")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := jpeg.Decode(data); !ok {
			b.Fatal("the file is not read")
		}
	}
}
