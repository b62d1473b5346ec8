package augment_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"pupil/augment"
)

// Files of many kinds, decoded as PIL decodes them (testdata/make_fixtures.py).
func TestDecodeAgainstPIL(t *testing.T) {
	var images map[string]struct {
		Width, Height, Channels int
		Background              *[3]uint8
		Pixels                  []byte
	}
	readJSON(t, "testdata/images.json", &images)
	if len(images) < 40 {
		t.Fatalf("only %d images", len(images))
	}
	for name, want := range images {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			if want.Background == nil {
				want.Background = &[3]uint8{128, 128, 128}
			}
			got, err := augment.DecodeOver(data, want.Channels, *want.Background)
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != want.Width || got.Height != want.Height || got.Channels != want.Channels {
				t.Fatalf("%d x %d x %d, want %d x %d x %d",
					got.Width, got.Height, got.Channels, want.Width, want.Height, want.Channels)
			}
			limit, average := 0, 0.0 // lossless, or decoded by package augment/jpeg
			switch {
			case name == "cmyk.jpg" || name == "ycck.jpg" || name == "progressive.jpg":
				limit, average = 5, 1 // the inverse transforms round differently
			case name == "progressive-420.jpg":
				limit, average = 28, 7 // and chroma of half the size is interpolated there, repeated here
			case name == "lossy.webp" || name == "alpha.webp":
				limit, average = 28, 7 // chroma as well
			case filepath.Ext(name) == ".webp":
				limit, average = 1, 1 // the blending of alpha and the conversion of colours round differently
			}
			worst, sum := 0, 0
			for i, v := range got.Pix {
				d := max(int(v)-int(want.Pixels[i]), int(want.Pixels[i])-int(v))
				worst, sum = max(worst, d), sum+d
			}
			if mean := float64(sum) / float64(len(got.Pix)); worst > limit || mean > average {
				t.Errorf("the greatest difference is %d, the mean %.2f", worst, mean)
			}
		})
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func encodeWith(t *testing.T, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill sets the pixels of a 2 x 1 image.
func fill(m interface {
	Set(x, y int, c color.Color)
}, c ...color.Color,
) {
	for x, v := range c {
		m.Set(x, 0, v)
	}
}

// Every colour model, by pixels that can be checked by hand.
func TestDecodeKnownPixels(t *testing.T) {
	r := image.Rect(0, 0, 2, 1)
	grey, grey16 := image.NewGray(r), image.NewGray16(r)
	fill(grey, color.Gray{7}, color.Gray{250})
	fill(grey16, color.Gray16{0x80ff}, color.Gray16{0xff80})
	nrgba, nrgba64, rgba64 := image.NewNRGBA(r), image.NewNRGBA64(r), image.NewRGBA64(r)
	fill(nrgba, color.NRGBA{200, 100, 0, 255}, color.NRGBA{200, 100, 0, 51})
	fill(nrgba64, color.NRGBA64{0xffff, 0x8000, 0, 0xffff}, color.NRGBA64{0xffff, 0, 0, 0})
	fill(rgba64, color.RGBA64{0x0100, 0x8080, 0xffff, 0xffff}, color.RGBA64{0, 0, 0, 0xffff})
	paletted := image.NewPaletted(r, color.Palette{color.NRGBA{10, 20, 30, 255}, color.NRGBA{10, 20, 30, 0}})
	paletted.SetColorIndex(1, 0, 1)

	for _, c := range []struct {
		name   string
		encode func(*bytes.Buffer) error
		rgb    []uint8
		grey   []uint8
	}{
		{
			"png grey", func(b *bytes.Buffer) error { return png.Encode(b, grey) },
			[]uint8{7, 7, 7, 250, 250, 250},
			[]uint8{7, 250},
		},
		{
			"png 16 bit grey", func(b *bytes.Buffer) error { return png.Encode(b, grey16) },
			[]uint8{128, 128, 128, 255, 255, 255},
			[]uint8{128, 255},
		},
		{ // a fifth of (200, 100, 0) and four fifths of 128
			"png alpha", func(b *bytes.Buffer) error { return png.Encode(b, nrgba) },
			[]uint8{200, 100, 0, 142, 122, 102},
			[]uint8{118, 126},
		},
		{
			"png 16 bit alpha", func(b *bytes.Buffer) error { return png.Encode(b, nrgba64) },
			[]uint8{255, 128, 0, 128, 128, 128},
			[]uint8{151, 128},
		},
		{
			"png 16 bit", func(b *bytes.Buffer) error { return png.Encode(b, rgba64) },
			[]uint8{1, 128, 255, 0, 0, 0},
			[]uint8{105, 0},
		},
		{
			"png palette with alpha", func(b *bytes.Buffer) error { return png.Encode(b, paletted) },
			[]uint8{10, 20, 30, 128, 128, 128},
			[]uint8{18, 128},
		},
		{
			"bmp", func(b *bytes.Buffer) error { return bmp.Encode(b, grey) },
			[]uint8{7, 7, 7, 250, 250, 250},
			[]uint8{7, 250},
		},
		{
			"tiff 16 bit", func(b *bytes.Buffer) error { return tiff.Encode(b, grey16, nil) },
			[]uint8{128, 128, 128, 255, 255, 255},
			[]uint8{128, 255},
		},
		{
			"tiff alpha", func(b *bytes.Buffer) error { return tiff.Encode(b, nrgba, nil) },
			[]uint8{200, 100, 0, 142, 122, 102},
			[]uint8{118, 126},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := encodeWith(t, c.encode)
			for channels, want := range map[int][]uint8{3: c.rgb, 1: c.grey} {
				if got := decode(t, data, channels); !slices.Equal(got.Pix, want) || got.Width != 2 || got.Height != 1 {
					t.Errorf("%d channels: %v, want %v", channels, got.Pix, want)
				}
			}
		})
	}
}

// Of an animation the first frame counts, in its place on the canvas.
func TestDecodeAnimation(t *testing.T) {
	frame := image.NewPaletted(image.Rect(1, 1, 2, 3), palette.Plan9)
	for i := range frame.Pix {
		frame.Pix[i] = uint8(color.Palette(palette.Plan9).Index(color.White))
	}
	second := image.NewPaletted(image.Rect(0, 0, 4, 4), palette.Plan9)
	data := encodeWith(t, func(b *bytes.Buffer) error {
		return gif.EncodeAll(b, &gif.GIF{
			Image: []*image.Paletted{frame, second}, Delay: []int{1, 1},
			Config: image.Config{ColorModel: color.Palette(palette.Plan9), Width: 4, Height: 4},
		})
	})
	got := decode(t, data, 1)
	want := slices.Repeat([]uint8{128}, 16)
	want[1*4+1], want[2*4+1] = 255, 255
	if got.Width != 4 || got.Height != 4 || !slices.Equal(got.Pix, want) {
		t.Errorf("got %d x %d %v, want %v", got.Width, got.Height, got.Pix, want)
	}
	for channels, corner := range map[int][]uint8{3: {10, 200, 90}, 1: {131}} { // 131 is the luma of the three
		over, err := augment.DecodeOver(data, channels, [3]uint8{10, 200, 90})
		if err != nil {
			t.Fatal(err)
		}
		if middle := (1*4 + 1) * channels; !slices.Equal(over.Pix[:channels], corner) || over.Pix[middle] != 255 {
			t.Errorf("%d channels: the corner is %v, want %v", channels, over.Pix[:channels], corner)
		}
	}
}

// header is a PNG that claims a size and has no pixels.
func header(width, height uint32, depth, colour byte) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, depth, colour, 0, 0, 0)
	b = append(b, chunk...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(chunk))
}

func TestDecodeErrors(t *testing.T) {
	good := encodePNG(t, smooth(20, 20, false))
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 0x55
	for _, c := range []struct {
		name     string
		data     []byte
		channels int
		want     string
	}{
		{"empty", nil, 3, "the file is empty"},
		{"text", []byte("<html><body>"), 3, "unknown format: it starts with 3c 68 74 6d 6c"},
		{"short", []byte("B"), 3, "unknown format"},
		{"two channels", good, 2, "2 channels were asked for"},
		{"cut png", good[:len(good)/2], 3, "decode PNG image: png: invalid format: not enough pixel data"},
		{"cut jpeg", encodeJPEG(t, smooth(20, 20, false))[:300], 3, "decode JPEG image: the file ends too early"},
		{"damaged png", flipped, 3, "decode PNG image"},
		{"only a signature", good[:8], 1, "the file ends too early"},
		{"bomb", header(60000, 60000, 8, 2), 3, "60000 x 60000 pixels; at most 67 million"},
		{"bomb that overflows", header(0x7fffffff, 0x7fffffff, 8, 2), 3, "decode PNG image"},
		{"forged header", header(8000, 8000, 16, 6), 3, "which a file of 33 bytes cannot hold"},
		{"webp without an image", []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), 3, "decode WebP image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			img, err := augment.Decode(c.data, c.channels)
			if err == nil || img != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, error %v; want %q", img, err, c.want)
			}
		})
	}
	for _, data := range [][]byte{header(60000, 60000, 8, 2), header(8000, 8000, 16, 6)} {
		if _, err := augment.Decode(data, 3); !errors.Is(err, augment.ErrTooLarge) {
			t.Errorf("%v is not ErrTooLarge", err)
		}
	}
}

// A refused bomb costs no memory worth the name.
func TestBombIsRefusedBeforeItIsDecoded(t *testing.T) {
	bomb := header(8000, 8000, 16, 6)
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := augment.Decode(bomb, 3); err == nil {
				b.Fatal("the bomb was decoded")
			}
		}
	})
	if r.AllocedBytesPerOp() > 1<<16 {
		t.Errorf("%d bytes were allocated", r.AllocedBytesPerOp())
	}
}

func TestConvert(t *testing.T) {
	rgb := &augment.Image{Width: 2, Height: 1, Channels: 3, Pix: []uint8{255, 0, 0, 0, 0, 255}}
	grey := rgb.Convert(1)
	if !slices.Equal(grey.Pix, []uint8{76, 29}) {
		t.Errorf("grey %v", grey.Pix)
	}
	if back := grey.Convert(3); !slices.Equal(back.Pix, []uint8{76, 76, 76, 29, 29, 29}) || back.Width != 2 {
		t.Errorf("rgb %+v", back)
	}
	if rgb.Convert(3) != rgb {
		t.Error("a conversion to the same number of channels made a copy")
	}
}

func FuzzDecode(f *testing.F) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if file.IsDir() || slices.Contains([]string{".json", ".py"}, filepath.Ext(file.Name())) {
			continue
		}
		data, err := os.ReadFile(filepath.Join("testdata", file.Name()))
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range []int{len(data), len(data) / 2, len(data) - 1} {
			f.Add(data[:n], true)
		}
		damaged := slices.Clone(data)
		damaged[len(damaged)/2] ^= 0xff
		f.Add(damaged, false)
	}
	f.Add(header(5000, 5000, 16, 6), true)
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x10Exif\x00\x00MM\x00*\xff\xff\xff\xff"), true)
	f.Fuzz(func(t *testing.T, data []byte, colour bool) {
		channels := 1
		if colour {
			channels = 3
		}
		before := slices.Clone(data)
		img, err := augment.Decode(data, channels)
		if !bytes.Equal(before, data) {
			t.Fatal("the data was changed")
		}
		if (img == nil) == (err == nil) {
			t.Fatalf("image %v and error %v", img, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), "panicked") {
				t.Error(err)
			}
			return
		}
		if img.Width < 1 || img.Height < 1 || img.Width*img.Height > augment.MaxPixels ||
			img.Channels != channels || len(img.Pix) != img.Width*img.Height*channels {
			t.Fatalf("%d x %d x %d with %d values", img.Width, img.Height, img.Channels, len(img.Pix))
		}
	})
}
