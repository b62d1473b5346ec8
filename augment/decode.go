package augment

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	fast "pupil/augment/jpeg"
	"pupil/augment/netpbm"
)

// MaxPixels is the largest image that Decode takes, as width times height.
const MaxPixels = 1 << 26

// An image of more than freePixels must have at least one byte of file for each pixelsPerByte: no photograph comes near
// that, and a forged header of a few bytes cannot claim half a gigabyte.
const (
	freePixels    = 1 << 20
	pixelsPerByte = 1 << 14
)

// ErrTooLarge is the reason for which Decode refuses an image that has too many pixels.
var ErrTooLarge = errors.New("the image is too large")

// format is one kind of file. It is found by its first bytes here, not in package image's registry, which every import
// of a program can add to.
type format struct {
	name   string
	magic  []string // alternatives; '?' is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var formats = []format{
	{"PNG", []string{"\x89PNG\r\n\x1a\n"}, png.DecodeConfig, png.Decode},
	{"JPEG", []string{"\xff\xd8"}, jpeg.DecodeConfig, jpeg.Decode},
	{"GIF", []string{"GIF87a", "GIF89a"}, gif.DecodeConfig, gif.Decode},
	{"BMP", []string{"BM"}, bmp.DecodeConfig, bmp.Decode},
	{"TIFF", []string{"II*\x00", "MM\x00*"}, tiff.DecodeConfig, tiff.Decode},
	{"WebP", []string{"RIFF????WEBPVP8"}, webp.DecodeConfig, webp.Decode},
	{"PNM", []string{"P2", "P3", "P5", "P6"}, netpbm.DecodeConfig, netpbm.Decode},
}

// Decode returns an encoded image with 1 (grey) or 3 (RGB) channels. It reads PNG, JPEG, BMP, TIFF, WebP, PGM, PPM and the first
// frame of a GIF, of any depth and colour model that Go's decoders read; 16 bits become 8, transparent pixels are
// blended over mid-grey (128), RGB becomes grey by its luma. The EXIF orientation of a JPEG, PNG, WebP or TIFF is
// applied: the image stands upright.
//
// The size is checked before pixels are decoded: more than MaxPixels, or far more pixels than a file of that length can
// mean, are refused with ErrTooLarge. data is not kept. Decode is safe for concurrent use; it never panics.
func Decode(data []byte, channels int) (*Image, error) { return DecodeOver(data, channels, midGrey) }

// DecodeOver is Decode with a colour of one's own, RGB, under transparent pixels and around a GIF's first frame: that
// of Pipeline.Background, so that what is not there looks like nothing to a network.
func DecodeOver(data []byte, channels int, background [3]uint8) (img *Image, err error) {
	if channels != 1 && channels != 3 {
		return nil, fmt.Errorf("decode image: %d channels were asked for; it must be 1 or 3", channels)
	}
	f, err := sniff(data)
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	defer func() {
		// The decoders are other people's and the files are anybody's: a decoder's panic is a broken image, not the
		// end of a night of training.
		if r := recover(); r != nil {
			img, err = nil, fmt.Errorf("decode %s image: the decoder panicked: %v", f.name, r)
		}
	}()
	if img, err = f.read(data, channels, background); err != nil {
		return nil, fmt.Errorf("decode %s image: %w", f.name, err)
	}
	return img, nil
}

func (f format) read(data []byte, channels int, under background) (*Image, error) {
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return nil, truncated(err)
	}
	if err := checkSize(c.Width, c.Height, len(data)); err != nil {
		return nil, err
	}
	turn := f.orientation(data)
	if f.name == "JPEG" {
		if m, ok := fast.Decode(data); ok {
			return (*Image)(m).Convert(channels).upright(turn), nil
		}
	}
	m, err := f.decode(bytes.NewReader(data))
	if err != nil {
		return nil, truncated(err)
	}
	return under.convert(m, c.Width, c.Height, channels, f.name == "WebP").upright(turn), nil
}

// Describe returns the format's name and the size of an image as it is stored, without decoding its pixels. The checks of
// Decode's are made; pixels can be broken all the same.
func Describe(data []byte) (name string, width, height int, err error) {
	f, err := sniff(data)
	if err != nil {
		return "", 0, 0, fmt.Errorf("describe image: %w", err)
	}
	defer func() {
		if r := recover(); r != nil { // as in DecodeOver
			err = fmt.Errorf("describe %s image: the decoder panicked: %v", f.name, r)
		}
	}()
	c, err := f.config(bytes.NewReader(data))
	if err == nil {
		err = checkSize(c.Width, c.Height, len(data))
	}
	if err != nil {
		return "", 0, 0, fmt.Errorf("describe %s image: %w", f.name, truncated(err))
	}
	return f.name, c.Width, c.Height, nil
}

// truncated says in words what the decoders mean by an unexpected end.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends too early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func checkSize(width, height, length int) error {
	if width < 1 || height < 1 {
		return fmt.Errorf("it has no pixels (%d x %d)", width, height)
	}
	if width > MaxPixels/height {
		return fmt.Errorf("%w: %d x %d pixels; at most %d million are taken: make it smaller",
			ErrTooLarge, width, height, MaxPixels/1_000_000)
	}
	if pixels := width * height; pixels > freePixels && pixels/pixelsPerByte > length {
		return fmt.Errorf("%w: its header claims %d x %d pixels, which a file of %d bytes cannot hold",
			ErrTooLarge, width, height, length)
	}
	return nil
}

func sniff(data []byte) (format, error) {
	for _, f := range formats {
		for _, m := range f.magic {
			if matches(data, m) {
				return f, nil
			}
		}
	}
	if len(data) == 0 {
		return format{}, errors.New("the file is empty")
	}
	return format{}, fmt.Errorf("unknown format: it starts with % x; PNG, JPEG, GIF, BMP, TIFF, WebP, PGM and PPM are read",
		data[:min(len(data), 8)])
}

func matches(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}
