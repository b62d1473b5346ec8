package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// MaxBytes is the largest encoded image.
const MaxBytes = 256 << 20

// ErrNone says that there are no images where the user looks for some. Test for it with errors.Is.
var ErrNone = errors.New("there are no images")

// ErrBytes says that an encoded image is larger than MaxBytes. Test for it with errors.Is.
var ErrBytes = errors.New("the file is too large")

// Item is one encoded image.
type Item struct {
	Name  string // path, URL, or entry of a dataset or tar file
	Label int    // an index of Set.Classes; -1 for none

	read func(ctx context.Context) ([]byte, error)
}

// Read returns the encoded bytes, which the caller must not change. It may be called from any goroutine. ErrBytes is about
// this image alone.
func (i Item) Read(ctx context.Context) ([]byte, error) { return i.read(ctx) }

// Of is an image that is in memory.
func Of(name string, label int, data []byte) Item {
	return Item{name, label, func(context.Context) ([]byte, error) { return data, nil }}
}

// Set is a list of images.
type Set struct {
	Classes []string // names by label
	Count   int      // images; -1: not known before all are read

	parts []part
}

// part are the images of one argument. Its labels are indices of its own classes.
type part struct {
	name    string
	classes []string
	count   int // -1: not known
	all     func(ctx context.Context) iter.Seq2[Item, error]
}

// Open finds the images of arguments: "-" is standard input. What is not there, and an argument without images, is an
// error. Only listings are read, but for standard input.
func Open(ctx context.Context, args []string, stdin io.Reader) (*Set, error) {
	if i := slices.Index(args, "-"); i >= 0 && slices.Contains(args[i+1:], "-") {
		return nil, errors.New("standard input (-) is named twice")
	}
	s := &Set{}
	for _, arg := range args {
		p, err := open(ctx, arg, stdin)
		if err != nil {
			return nil, err
		}
		s.add(p)
	}
	if len(s.parts) == 0 {
		return nil, fmt.Errorf("%w: no argument names any", ErrNone)
	}
	return s, nil
}

// add appends a part; a class that several parts have is one class.
func (s *Set) add(p part) {
	known := make(map[string]int, len(s.Classes)+len(p.classes))
	for i, c := range s.Classes {
		known[c] = i
	}
	labels := make([]int, len(p.classes))
	for i, c := range p.classes {
		label, ok := known[c]
		if !ok {
			label = len(s.Classes)
			known[c], s.Classes = label, append(s.Classes, c)
		}
		labels[i] = label
	}
	p.all = relabelled(p.all, labels)
	if s.parts = append(s.parts, p); p.count < 0 || s.Count < 0 {
		s.Count = -1
	} else {
		s.Count += p.count
	}
}

// relabelled are images whose label l is labels[l].
func relabelled(all func(context.Context) iter.Seq2[Item, error], labels []int) func(context.Context) iter.Seq2[Item, error] {
	return func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			for item, err := range all(ctx) {
				if item.Label >= 0 && item.Label < len(labels) {
					item.Label = labels[item.Label]
				}
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

// As is the set with labels that are indices of other classes, by name; -1 for a class that is not among them.
func (s *Set) As(classes []string) *Set {
	labels := make([]int, len(s.Classes))
	for i, c := range s.Classes {
		labels[i] = slices.Index(classes, c)
	}
	other := &Set{Classes: classes, Count: s.Count, parts: slices.Clone(s.parts)}
	for i := range other.parts {
		other.parts[i].all = relabelled(other.parts[i].all, labels)
	}
	return other
}

// All gives the images in order. An error is the last that it gives. A set with standard input can be read once.
func (s *Set) All(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, p := range s.parts {
			for item, err := range p.all(ctx) {
				if err != nil {
					err = fmt.Errorf("%s: %w", p.name, err)
				}
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

// FromItems is a set of images that are in memory.
func FromItems(classes []string, items ...Item) *Set {
	s := &Set{}
	s.add(part{name: "memory", classes: classes, count: len(items), all: list(items)})
	return s
}

// list is a part's images when all are known.
func list(items []Item) func(context.Context) iter.Seq2[Item, error] {
	return func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			for _, item := range items {
				if err := ctx.Err(); err != nil {
					yield(Item{}, context.Cause(ctx))
					return
				}
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// readAll reads an encoded image.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err == nil && len(data) > MaxBytes {
		return nil, fmt.Errorf("%w: it has more than %d MB", ErrBytes, MaxBytes>>20)
	}
	return data, err
}
