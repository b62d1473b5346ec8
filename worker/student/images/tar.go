package images

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// openStdin takes one encoded image or a tar file of images, plain or compressed with gzip: the first bytes tell.
func openStdin(stdin io.Reader) (part, error) {
	const name = "standard input"
	r := bufio.NewReader(stdin)
	head, err := r.Peek(tarBlock)
	switch {
	case len(head) == 0 && err == io.EOF:
		return part{}, errors.New("standard input is empty; pipe an image or a tar file of images into it")
	case err != nil && err != io.EOF:
		return part{}, fmt.Errorf("%s: %w", name, err)
	case bytes.HasPrefix(head, gzipMagic) || looksLikeTar(head):
		return tarPart(name, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }), nil
	}
	return part{name: name, count: 1, all: func(context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			data, err := readAll(r)
			yield(Of("-", -1, data), err)
		}
	}}, nil
}

const tarBlock = 512

var gzipMagic = []byte{0x1f, 0x8b}

// looksLikeTar tells POSIX and GNU tar files by their magic.
func looksLikeTar(head []byte) bool {
	return len(head) == tarBlock && bytes.HasPrefix(head[257:], []byte("ustar"))
}

// tarPart are the images of a tar file, in its order. They have no labels.
func tarPart(name string, open func(context.Context) (io.ReadCloser, error)) part {
	return part{name: name, count: -1, all: func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			f, err := open(ctx)
			if err != nil {
				yield(Item{}, err)
				return
			}
			defer f.Close()
			n, err := entries(ctx, f, func(i Item) bool { return yield(i, nil) })
			if err == nil && n == 0 {
				err = ErrNone
			}
			if err != nil {
				yield(Item{}, err)
			}
		}
	}}
}

// entries gives a tar file's images to take until that is false, and counts them. It returns no error when take ended it.
func entries(ctx context.Context, f io.Reader, take func(Item) bool) (n int, err error) {
	r := bufio.NewReader(f)
	if head, _ := r.Peek(len(gzipMagic)); bytes.Equal(head, gzipMagic) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return 0, err
		}
		defer z.Close()
		r = bufio.NewReader(z)
	}
	t := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := t.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if h.Typeflag != tar.TypeReg || !IsImage(h.Name) {
			continue
		}
		data, err := readAll(t)
		if err != nil {
			return n, fmt.Errorf("%s: %w", h.Name, err)
		}
		n++
		if !take(Of(h.Name, -1, data)) {
			return n, nil
		}
	}
	return n, context.Cause(ctx)
}
