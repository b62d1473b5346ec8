package dataset

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// record is an image of a tar file and what stands beside it under the same name.
type record struct {
	tar          string // of the tree
	name         string // of the entry
	offset, size int64
	stamp        string
	class        string // content of NAME.cls
	classed      bool
}

// fromTars reads the directories of tar files, in which NAME.jpg (or another image) may have NAME.cls beside it with its class:
// a number, or a name, as WebDataset has it. Without any .cls the folders in the tar files are the classes, as in a folder of
// images. Entries that are no images are left out.
func fromTars(ctx context.Context, t tree, tars, classes []string) (*Source, error) {
	var records []record
	for _, name := range tars {
		found, err := readTar(ctx, t, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.origin(name), err)
		}
		records = append(records, found...)
	}
	if len(records) == 0 {
		return nil, errors.New("there are no images in the tar files")
	}
	s := &Source{Place: t.origin("")}
	names, labels := make([]string, len(records)), make([]int, len(records))
	var err error
	if slices.ContainsFunc(records, func(r record) bool { return r.classed }) {
		s.Classes, err = classify(records, labels, classes)
		for i, r := range records {
			names[i] = r.name
		}
	} else {
		paths := make([]string, len(records))
		for i, r := range records {
			paths[i] = r.name
		}
		names, labels, s.Classes, err = labelled(paths, classes)
	}
	if err != nil {
		return nil, err
	}
	for i, r := range records {
		name := names[i]
		if len(tars) > 1 { // names need only be unique in one tar file
			name = strings.TrimSuffix(r.tar, path.Ext(r.tar)) + "/" + name
		}
		s.Images = append(s.Images, Image{
			Name: name, Label: labels[i], Origin: t.origin(r.tar) + ": " + r.name, Stamp: r.stamp,
			read: func(ctx context.Context) ([]byte, error) { return r.read(ctx, t) },
		})
	}
	return s, nil
}

func (r record) read(ctx context.Context, t tree) (_ []byte, err error) {
	if r.size > maxImage {
		return nil, fmt.Errorf("%w: it has more than %d bytes", errUnreadable, maxImage)
	}
	in, err := t.open(ctx, r.tar, r.offset, r.size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	data := make([]byte, r.size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", t.origin(r.tar), err)
	}
	return data, nil
}

// readTar reads one tar file from its begin to its end.
func readTar(ctx context.Context, t tree, name string) (_ []record, err error) {
	in, err := t.open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	at := &counter{r: in}
	archive := tar.NewReader(at)
	var out []record
	classes := map[string]string{} // of .cls entries, by the name without ending
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("it is no tar file, or is cut off: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		entry := path.Clean(strings.TrimPrefix(h.Name, "/"))
		switch {
		case strings.EqualFold(path.Ext(entry), ".cls"):
			const most = 1 << 10
			text, err := io.ReadAll(io.LimitReader(archive, most))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", h.Name, err)
			}
			classes[stem(entry)] = strings.TrimSpace(string(text))
		case isImage(entry):
			out = append(out, record{
				tar: name, name: entry, offset: at.n, size: h.Size, stamp: fmt.Sprint(at.n, h.Size, h.ModTime.UnixNano(), h.Name),
			})
		}
	}
	for i := range out {
		out[i].class, out[i].classed = classes[stem(out[i].name)], false
		_, out[i].classed = classes[stem(out[i].name)]
	}
	return out, nil
}

// stem is the name that entries of one sample share: up to the first dot of the last element.
func stem(name string) string {
	folder, base := path.Split(name)
	base, _, _ = strings.Cut(base, ".")
	return folder + base
}

// counter counts what was read: after tar.Reader's Next, the offset of the entry's content.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// classify gives each record the label that its .cls names: a number, or, when not all are numbers, a name.
func classify(records []record, labels []int, classes []string) ([]string, error) {
	numbers := true
	largest := -1
	for i, r := range records {
		if !r.classed {
			return nil, fmt.Errorf("%s: %s has no .cls beside it, and others have", r.tar, r.name)
		}
		n, err := strconv.Atoi(r.class)
		const most = 1 << 20
		if numbers = numbers && err == nil && n >= 0 && n < most; numbers {
			labels[i], largest = n, max(largest, n)
		}
	}
	if numbers {
		if len(classes) == 0 {
			for i := range largest + 1 {
				classes = append(classes, strconv.Itoa(i))
			}
		}
		return classes, nil
	}
	if len(classes) == 0 {
		for _, r := range records {
			classes = append(classes, r.class)
		}
		slices.Sort(classes)
		classes = slices.Compact(classes)
	}
	number := map[string]int{}
	for label, name := range classes {
		number[name] = label
	}
	for i, r := range records {
		label, ok := number[r.class]
		if !ok {
			return nil, fmt.Errorf("%s: the class %q of %s is not among the %d that are named", r.tar, r.class, r.name, len(classes))
		}
		labels[i] = label
	}
	return classes, nil
}
