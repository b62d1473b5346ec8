package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"iter"
)

// maxIDXSide bounds the width and the height of images in IDX files.
const maxIDXSide = 1 << 12

// IDX reads a pair of IDX files, the format of MNIST and its kin: a file of 8-bit grey images and a file of labels.
//
//	images: 0x00000803, count, height, width (32-bit, big-endian), then count * height * width bytes
//	labels: 0x00000801, count, then count bytes
//
// Either file may be compressed with gzip.
type IDX struct {
	Count, Width, Height int

	images, labels io.Reader // labels is nil when there are none
}

// ReadIDX reads the headers of two IDX files. labels is nil for images without labels.
func ReadIDX(images, labels io.Reader) (*IDX, error) {
	in, header, err := openIDX(images, 0x803, 3)
	if err != nil {
		return nil, fmt.Errorf("read IDX images: %w", err)
	}
	x := &IDX{Count: int(header[0]), Height: int(header[1]), Width: int(header[2]), images: in}
	if x.Height < 1 || x.Height > maxIDXSide || x.Width < 1 || x.Width > maxIDXSide {
		return nil, fmt.Errorf("read IDX images: images of %d x %d pixels, want 1 to %d", x.Width, x.Height, maxIDXSide)
	}
	if labels == nil {
		return x, nil
	}
	if x.labels, header, err = openIDX(labels, 0x801, 1); err != nil {
		return nil, fmt.Errorf("read IDX labels: %w", err)
	}
	if int(header[0]) != x.Count {
		return nil, fmt.Errorf("read IDX: %d images, but %d labels: the files do not belong together", x.Count, header[0])
	}
	return x, nil
}

// openIDX unpacks a file if need be, and reads its magic number and dimensions.
func openIDX(r io.Reader, magic uint32, dimensions int) (io.Reader, []uint32, error) {
	in := bufio.NewReader(r)
	if start, err := in.Peek(2); err == nil && bytes.Equal(start, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		in = bufio.NewReader(unpacked)
	}
	header := make([]byte, 4+4*dimensions)
	if _, err := io.ReadFull(in, header); err != nil {
		return nil, nil, fmt.Errorf("header: %w", cut(err))
	}
	if got := binary.BigEndian.Uint32(header); got != magic {
		return nil, nil, fmt.Errorf("the file begins with %#08x, not with %#08x: it is another kind of file", got, magic)
	}
	out := make([]uint32, dimensions)
	for i := range out {
		out[i] = binary.BigEndian.Uint32(header[4+4*i:])
		if out[i] > 1<<31-1 {
			return nil, nil, fmt.Errorf("dimension %d is %d, out of range", i, out[i])
		}
	}
	return in, out, nil
}

// Example is an image and its label, -1 for none.
type Example struct {
	Image *image.Gray
	Label int
}

// All gives the examples in the order of the files, each with an image of its own. An error is the last that it gives:
// a file that ends early, or goes on after the last image. It can be used once.
func (x *IDX) All() iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		for i := range x.Count {
			e, err := x.next()
			if err != nil {
				yield(Example{}, fmt.Errorf("read IDX example %d: %w", i, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := x.end(); err != nil {
			yield(Example{}, fmt.Errorf("read IDX: %w", err))
		}
	}
}

func (x *IDX) next() (Example, error) {
	e := Example{image.NewGray(image.Rect(0, 0, x.Width, x.Height)), -1}
	if _, err := io.ReadFull(x.images, e.Image.Pix); err != nil {
		return e, fmt.Errorf("image: %w", cut(err))
	}
	if x.labels != nil {
		var label [1]byte
		if _, err := io.ReadFull(x.labels, label[:]); err != nil {
			return e, fmt.Errorf("label: %w", cut(err))
		}
		e.Label = int(label[0])
	}
	return e, nil
}

// end checks that both files end; with gzip that also checks their sums.
func (x *IDX) end() error {
	for _, r := range []io.Reader{x.images, x.labels} {
		if r == nil {
			continue
		}
		var more [1]byte
		if n, err := io.ReadFull(r, more[:]); n > 0 {
			return errors.New("a file goes on after the last example that its header announces")
		} else if !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// cut makes the end of a file in the wrong place an error that says so.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
