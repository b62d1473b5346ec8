// Package netpbm decodes PGM and PPM images, the plain (P2, P3) and the raw kinds (P5, P6) of the netpbm formats.
//
// A file is its magic number, width, height and largest value, separated by white space and comments that begin with '#',
// one white space, and then the values from 0 to the largest, row by row. Values are scaled so that the largest is white;
// those of a file whose largest value is over 255 have 16 bits, big-endian.
package netpbm

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
)

const (
	maxSide  = 1 << 24 // pixels; more is nobody's picture
	maxValue = 1<<16 - 1
	maxArea  = 1 << 30
)

// header is what stands before the values.
type header struct {
	kind          byte // '2', '3', '5' or '6'
	width, height int
	largest       int
}

func (h header) coloured() bool { return h.kind == '3' || h.kind == '6' }
func (h header) plain() bool    { return h.kind == '2' || h.kind == '3' }

// DecodeConfig reads the size and the colour model.
func DecodeConfig(r io.Reader) (image.Config, error) {
	h, err := readHeader(bufio.NewReader(r))
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{ColorModel: h.model(), Width: h.width, Height: h.height}, nil
}

func (h header) model() color.Model {
	switch {
	case h.coloured() && h.largest > 255:
		return color.RGBA64Model
	case h.coloured():
		return color.RGBAModel
	case h.largest > 255:
		return color.Gray16Model
	}
	return color.GrayModel
}

// Decode reads an image: *image.Gray, *image.Gray16, *image.RGBA or *image.RGBA64. What follows the image is not read.
func Decode(r io.Reader) (image.Image, error) {
	in := bufio.NewReader(r)
	h, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	next := func() (int, error) { return raw(in, h.largest) }
	if h.plain() {
		next = func() (int, error) { return number(in, h.largest) }
	}
	bounds := image.Rect(0, 0, h.width, h.height)
	var out image.Image
	var pix []byte
	wide, alpha := h.largest > 255, h.coloured()
	switch m := h.model(); m {
	case color.RGBA64Model:
		i := image.NewRGBA64(bounds)
		out, pix = i, i.Pix
	case color.RGBAModel:
		i := image.NewRGBA(bounds)
		out, pix = i, i.Pix
	case color.Gray16Model:
		i := image.NewGray16(bounds)
		out, pix = i, i.Pix
	default:
		i := image.NewGray(bounds)
		out, pix = i, i.Pix
	}
	return out, fill(pix, h.largest, wide, alpha, next)
}

// fill sets the samples of an image; with alpha every fourth is opaque.
func fill(pix []byte, largest int, wide, alpha bool, next func() (int, error)) error {
	size, white := 1, 255
	if wide {
		size, white = 2, 65535
	}
	for i := 0; len(pix) > 0; i++ {
		v := white
		if !alpha || i%4 < 3 {
			n, err := next()
			if err != nil {
				return err
			}
			if n > largest {
				return fmt.Errorf("a value of %d is over the largest of %d that the header announces", n, largest)
			}
			v = (n*white + largest/2) / largest
		}
		if wide {
			pix[0], pix[1] = byte(v>>8), byte(v)
		} else {
			pix[0] = byte(v)
		}
		pix = pix[size:]
	}
	return nil
}

func raw(in *bufio.Reader, largest int) (int, error) {
	b, err := in.ReadByte()
	if err != nil || largest < 256 {
		return int(b), ended(err)
	}
	low, err := in.ReadByte()
	return int(b)<<8 | int(low), ended(err)
}

func readHeader(in *bufio.Reader) (header, error) {
	var h header
	var magic [2]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		return h, ended(err)
	}
	if h.kind = magic[1]; magic[0] != 'P' || h.kind != '2' && h.kind != '3' && h.kind != '5' && h.kind != '6' {
		return h, errors.New("the magic number is not P2, P3, P5 or P6")
	}
	for _, f := range []struct {
		name  string
		at    *int
		limit int
	}{{"width", &h.width, maxSide}, {"height", &h.height, maxSide}, {"largest value", &h.largest, maxValue}} {
		n, err := number(in, f.limit)
		if err != nil {
			return h, fmt.Errorf("%s: %w", f.name, err)
		}
		if n < 1 || n > f.limit {
			return h, fmt.Errorf("%s is %d; it must be 1 to %d", f.name, n, f.limit)
		}
		*f.at = n
	}
	if h.width > maxArea/h.height {
		return h, fmt.Errorf("%d x %d pixels are too many", h.width, h.height)
	}
	return h, nil
}

// number reads white space, comments, a decimal number and the one character that ends it. It stops at a number over limit.
func number(in *bufio.Reader, limit int) (int, error) {
	n, digits := 0, 0
	for {
		b, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && digits > 0:
			return n, nil
		case err != nil:
			return 0, ended(err)
		case b >= '0' && b <= '9':
			digits++
			if n = n*10 + int(b-'0'); n > limit {
				return n, nil
			}
		case b == '#' && digits == 0:
			if _, err := in.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return 0, ended(err)
			} else if err != nil {
				return 0, errors.New("a comment has no end")
			}
		case b == ' ' || b >= '\t' && b <= '\r':
			if digits > 0 {
				return n, nil
			}
		default:
			return 0, fmt.Errorf("%q stands where a number does", b)
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
