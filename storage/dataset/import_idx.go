package dataset

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"strconv"

	"pupil/storage"
)

// ImportIDX packs a pair of IDX files (see IDX), plain or compressed with gzip, as PNG images that are named by their
// number in the file. labels is "" for images without labels; PerClass and Skip then count all images. The same files
// and options give the same bytes. A class that has fewer images than PerClass asks for is an error.
func ImportIDX(ctx context.Context, dst storage.Bucket, images, labels string, o ImportOptions) (Manifest, error) {
	m, err := importIDX(ctx, dst, images, labels, o)
	if err != nil {
		return Manifest{}, fmt.Errorf("import %s: %w", images, err)
	}
	return m, nil
}

func importIDX(ctx context.Context, dst storage.Bucket, images, labels string, o ImportOptions) (Manifest, error) {
	if err := o.validate(); err != nil {
		return Manifest{}, err
	}
	imageFile, err := os.Open(images)
	if err != nil {
		return Manifest{}, err
	}
	defer imageFile.Close()
	var labelReader io.Reader // stays nil without labels
	switch {
	case labels != "":
		data, err := os.ReadFile(labels)
		if err != nil {
			return Manifest{}, err
		}
		if len(o.Classes) == 0 {
			if o.Classes, err = numberedClasses(data); err != nil {
				return Manifest{}, err
			}
		}
		labelReader = bytes.NewReader(data)
	case len(o.Classes) > 0:
		return Manifest{}, errors.New("classes are named, but there is no file of labels")
	}
	x, err := ReadIDX(imageFile, labelReader)
	if err != nil {
		return Manifest{}, err
	}
	w, err := NewWriter(dst, WriterOptions{ShardSize: o.ShardSize, Classes: o.Classes})
	if err != nil {
		return Manifest{}, err
	}
	if err := pack(ctx, w, x, o); err != nil {
		return Manifest{}, err
	}
	if err := w.Close(ctx); err != nil {
		return Manifest{}, err
	}
	return w.Manifest(), nil
}

// numberedClasses names the classes of a file of labels "0", "1" and so on up to its largest label.
func numberedClasses(file []byte) ([]string, error) {
	r, _, err := openIDX(bytes.NewReader(file), 0x801, 1)
	if err != nil {
		return nil, fmt.Errorf("read IDX labels: %w", err)
	}
	in := bufio.NewReader(r)
	largest := -1
	for {
		label, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read IDX labels: %w", err)
		}
		largest = max(largest, int(label))
	}
	var names []string
	for i := range largest + 1 {
		names = append(names, strconv.Itoa(i))
	}
	return names, nil
}

// pack adds the chosen examples in the order of the source.
func pack(ctx context.Context, w *Writer, x *IDX, o ImportOptions) error {
	choice := newChooser(len(o.Classes), o)
	digits := max(5, len(strconv.Itoa(max(x.Count-1, 0))))
	number := 0
	for e, err := range x.All() {
		if err != nil {
			return err
		}
		if e.Label >= len(o.Classes) {
			return fmt.Errorf("example %d has the label %d, but there are %d classes", number, e.Label, len(o.Classes))
		}
		if choice.take(e.Label) {
			encoded, err := encodePNG(e.Image)
			if err != nil {
				return err
			}
			if err := o.add(ctx, w, fmt.Sprintf("%0*d.png", digits, number), e.Label, encoded); err != nil {
				return err
			}
		}
		number++
	}
	return choice.check(o.Classes)
}

// encodePNG returns the smallest PNG that the standard library makes.
func encodePNG(m image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, m); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return b.Bytes(), nil
}
