package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"path"
	"strconv"
)

// fromIDX makes a source of a pair of IDX files (see IDX), plain or compressed with gzip: PNG images that are named by their
// number in the file, in its order. labels is "" for images without labels; without classes the labels' numbers name them.
func fromIDX(ctx context.Context, t tree, name, labels string, classes []string) (_ *Source, err error) {
	in, err := t.open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	var labelReader io.Reader // stays nil without labels
	switch {
	case labels != "":
		l, err := openTree(ctx, labels)
		if err != nil {
			return nil, err
		}
		base, single, err := l.single(ctx)
		if err == nil && !single {
			err = fmt.Errorf("%s is no file of labels", labels)
		}
		if err != nil {
			return nil, err
		}
		data, err := l.read(ctx, base)
		if err != nil {
			return nil, err
		}
		labelReader = bytes.NewReader(data)
	case len(classes) > 0:
		return nil, errors.New("classes are named, but there is no file of labels")
	}
	x, err := ReadIDX(in, labelReader)
	if err != nil {
		return nil, err
	}
	s, err := x.source(t.origin(name))
	if err != nil {
		return nil, err
	}
	if len(classes) > 0 {
		s.Classes = classes
	}
	return s, nil
}

// source reads all examples. They stay in memory: a byte a pixel.
func (x *IDX) source(place string) (*Source, error) {
	s := &Source{Place: place, ordered: true}
	digits := max(5, len(strconv.Itoa(max(x.Count-1, 0))))
	largest := -1
	for e, err := range x.All() {
		if err != nil {
			return nil, err
		}
		number := len(s.Images)
		largest = max(largest, e.Label)
		s.Images = append(s.Images, Image{
			Name: fmt.Sprintf("%0*d.png", digits, number), Label: e.Label, Origin: fmt.Sprintf("%s: example %d", path.Base(place), number),
			Stamp: fmt.Sprintf("%08x", crc32.ChecksumIEEE(e.Image.Pix)),
			read:  func(context.Context) ([]byte, error) { return encodePNG(e.Image) },
		})
	}
	for i := range largest + 1 {
		s.Classes = append(s.Classes, strconv.Itoa(i))
	}
	return s, nil
}

// encodePNG returns the smallest PNG that the standard library makes.
func encodePNG(m image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, m); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return b.Bytes(), nil
}
