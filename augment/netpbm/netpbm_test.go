package netpbm_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"strings"
	"testing"

	"pupil/augment/netpbm"
)

func TestDecode(t *testing.T) {
	for name, tt := range map[string]struct {
		data string
		want []color.RGBA64 // of 2 x 1 pixels
	}{
		"raw grey":      {"P5\n2 1\n255\n\x00\xff", []color.RGBA64{grey(0), grey(0xffff)}},
		"raw colour":    {"P6 2 1 255 \x01\x02\x03\xff\x00\x80", []color.RGBA64{rgb(1, 2, 3), rgb(255, 0, 128)}},
		"comments":      {"P5 # by hand\n# and more\n2\n#x\n1 255\n\x10\x20", []color.RGBA64{rgb(16, 16, 16), rgb(32, 32, 32)}},
		"plain grey":    {"P2\n2 1\n15\n0 15\n", []color.RGBA64{grey(0), grey(0xffff)}},
		"plain colour":  {"P3 2 1 255 1 2 3\n# x\n255 0 128", []color.RGBA64{rgb(1, 2, 3), rgb(255, 0, 128)}},
		"small largest": {"P5 2 1 1 \x00\x01", []color.RGBA64{grey(0), grey(0xffff)}},
		"16 bits":       {"P5 2 1 65535 \x12\x34\xff\xff", []color.RGBA64{grey(0x1234), grey(0xffff)}},
		"wide colour":   {"P6 2 1 65535 \x00\x01\x00\x02\x00\x03\x00\x00\x00\x00\xff\xff", []color.RGBA64{{1, 2, 3, 0xffff}, {0, 0, 0xffff, 0xffff}}},
		"what follows":  {"P5 2 1 255 \x00\xff and more", []color.RGBA64{grey(0), grey(0xffff)}},
	} {
		m, err := netpbm.Decode(strings.NewReader(tt.data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := netpbm.DecodeConfig(strings.NewReader(tt.data))
		if err != nil || m.Bounds() != image.Rect(0, 0, c.Width, c.Height) || c.Width != 2 || c.Height != 1 || c.ColorModel != m.ColorModel() {
			t.Errorf("%s: %v, config %+v, %v", name, m.Bounds(), c, err)
		}
		for x, want := range tt.want {
			if got := color.RGBA64Model.Convert(m.At(x, 0)); got != want {
				t.Errorf("%s: pixel %d is %v, want %v", name, x, got, want)
			}
		}
	}
}

func grey(v uint16) color.RGBA64      { return color.RGBA64{v, v, v, 0xffff} }
func rgb(r, g, b uint16) color.RGBA64 { return color.RGBA64{r * 257, g * 257, b * 257, 0xffff} }

func TestDecodeRefuses(t *testing.T) {
	for data, want := range map[string]string{
		"": "EOF", "P": "EOF", "P4 1 1 \x00": "magic number", "P5": "EOF", "P5 2": "EOF", "P5 0 1 255 ": "width is 0",
		"P5 2 99999999999 255 ": "height is", "P5 2 1 65536 ": "largest value", "P5 2 1 255 \x00": "EOF", "P5 2 1 9 \x0a\x00": "over the largest",
		"P2 2 1 9 1 10": "over the largest", "P2 2 1 9 1 x": "stands where a number does", "P5 -2 1 255": "stands where", "P5 2 1 255": "EOF",
		"P6 16000000 16000000 255 ": "too many", "P5 #" + strings.Repeat("x", 1<<17): "comment",
	} {
		if _, err := netpbm.Decode(strings.NewReader(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want an error with %q", data, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("P5\n2 1\n255\n\x00\xff"))
	f.Add([]byte("P3 2 1 255 1 2 3\n# x\n255 0 128"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := netpbm.DecodeConfig(bytes.NewReader(data))
		if err != nil || c.Width*c.Height > 1<<20 {
			return // Decode takes the memory that the header asks for; its callers check that first
		}
		if m, err := netpbm.Decode(bytes.NewReader(data)); err == nil && m.Bounds().Dx() != c.Width {
			t.Errorf("%v, config %+v", m.Bounds(), c)
		}
	})
}

func Example() {
	m, err := netpbm.Decode(strings.NewReader("P2 3 1 9 0 5 9"))
	fmt.Println(m.(*image.Gray).Pix, err)
	// Output: [0 142 255] <nil>
}
