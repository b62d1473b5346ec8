package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pupil/storage"
	"pupil/storage/location"
)

// Source is a list of images that Import packs. OpenSource makes one.
type Source struct {
	Place   string    // for people
	Classes []string  // names by label; empty when the images have no labels
	Images  []Image   // in an order that is a function of the source's content
	Refused []Refusal // what looks like an image and cannot be one: links that lead nowhere, and such

	ordered bool // the images stay in their order; else the classes are mixed evenly
}

// Image is one image of a Source.
type Image struct {
	Name   string // below its class
	Label  int    // -1 for none
	Origin string // where it lies, for people
	Stamp  string // changes when the content does

	read func(ctx context.Context) ([]byte, error)
}

// Refusal says why an image is not packed.
type Refusal struct {
	Origin string `json:"origin"`
	Reason string `json:"reason"`
}

// errUnreadable marks an error of reading one image that says nothing about the others.
var errUnreadable = fmt.Errorf("%w: it cannot be read", ErrImage)

// maxImage bounds the encoded images that are packed, in bytes.
const maxImage = 1 << 29

// OpenSource finds out what lies at a path or URL: a folder of images, tar files (one, or a folder of them), or a pair of IDX
// files, of which the images are named. labels is the path or URL of the IDX labels, "" for none; classes are the names by
// label, nil for those of the source.
func OpenSource(ctx context.Context, place, labels string, classes []string) (*Source, error) {
	s, err := openSource(ctx, place, labels, classes)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", location.Redact(place), err)
	}
	return s, nil
}

func openSource(ctx context.Context, place, labels string, classes []string) (*Source, error) {
	t, err := openTree(ctx, place)
	if err != nil {
		return nil, err
	}
	base, single, err := t.single(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case single && (strings.HasSuffix(strings.ToLower(base), ".tar.gz") || strings.HasSuffix(strings.ToLower(base), ".tgz")):
		return nil, errors.New("it is a compressed tar file, in which no image can be reached without those before it; unpack it " +
			"with gunzip first")
	case single && isTar(base):
		return fromTars(ctx, t, []string{base}, classes)
	case single:
		return fromIDX(ctx, t, base, labels, classes)
	case labels != "":
		return nil, errors.New("a file of labels is for IDX images; the labels of a folder are the names of the folders in it")
	}
	leaves, refused, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	images := slices.ContainsFunc(leaves, func(l leaf) bool { return isImage(l.path) })
	var tars []string
	for _, l := range leaves {
		if isTar(l.path) {
			tars = append(tars, l.path)
		}
	}
	if !images && len(tars) > 0 {
		slices.Sort(tars)
		return fromTars(ctx, t, tars, classes)
	}
	return fromFolder(t, leaves, refused, classes)
}

// isImage tells whether a file's name is that of an image.
func isImage(file string) bool {
	switch strings.ToLower(path.Ext(file)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm":
		return !strings.HasPrefix(path.Base(file), ".")
	}
	return false
}

func isTar(file string) bool {
	return strings.EqualFold(path.Ext(file), ".tar") && !strings.HasPrefix(path.Base(file), ".")
}

// chosen applies PerClass and Skip, and mixes the classes, so that every shard, and so every lane, has its share of each.
func (s *Source) chosen(o ImportOptions) ([]Image, error) {
	c := newChooser(len(s.Classes), o)
	var out []Image
	counts := make([]int, len(s.Classes)+1) // of chosen images, by label + 1
	place := map[int]int{}
	for _, m := range s.Images {
		if m.Label < -1 || m.Label >= len(s.Classes) {
			return nil, fmt.Errorf("%s has the label %d, but there are %d classes", m.Origin, m.Label, len(s.Classes))
		}
		if c.take(m.Label) {
			place[len(out)] = counts[m.Label+1]
			counts[m.Label+1]++
			out = append(out, m)
		}
	}
	if err := c.check(s.Classes); err != nil || s.ordered {
		return out, err
	}
	type placed struct {
		Image
		at float64 // in its class, from 0 to 1
	}
	mixed := make([]placed, len(out))
	for i, m := range out {
		mixed[i] = placed{m, (float64(place[i]) + 0.5) / float64(counts[m.Label+1])}
	}
	slices.SortStableFunc(mixed, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.Label, b.Label))
	})
	for i, m := range mixed {
		out[i] = m.Image
	}
	return out, nil
}

// fingerprint is the same for the same images and options.
func fingerprint(classes []string, images []Image, shardSize int) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %q\n", version, shardSize, classes)
	for _, m := range images {
		fmt.Fprintf(h, "%q %d %q\n", m.Name, m.Label, m.Stamp)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// labelled gives images that lie in folders of classes their labels and names. paths are below the source's root.
func labelled(paths, classes []string) (names []string, labels []int, all []string, err error) {
	inside, err := hasClasses(paths)
	if err != nil {
		return nil, nil, nil, err
	}
	switch {
	case inside && len(classes) == 0:
		classes = classNames(paths)
	case !inside && len(classes) > 0:
		return nil, nil, nil, errors.New("classes are named, but the images do not lie in folders of classes")
	}
	number := make(map[string]int, len(classes))
	for label, name := range classes {
		number[name] = label
	}
	for _, p := range paths {
		name, label := p, -1
		if len(classes) > 0 {
			class, rest, _ := strings.Cut(p, "/")
			n, ok := number[class]
			if !ok {
				return nil, nil, nil, fmt.Errorf("the folder %s is not among the %d classes that are named", class, len(classes))
			}
			name, label = rest, n
		}
		names, labels = append(names, name), append(labels, label)
	}
	return names, labels, classes, nil
}

// hasClasses tells whether the images lie in folders of classes. All must, or none.
func hasClasses(paths []string) (bool, error) {
	inFolder := func(p string) bool { return strings.Contains(p, "/") }
	first := slices.IndexFunc(paths, inFolder)
	outside := slices.IndexFunc(paths, func(p string) bool { return !inFolder(p) })
	if first >= 0 && outside >= 0 {
		return false, fmt.Errorf("%s lies in a folder, which names its class, and %s does not; move one of them",
			paths[first], paths[outside])
	}
	return first >= 0, nil
}

func classNames(paths []string) []string {
	var names []string
	for _, p := range paths {
		class, _, _ := strings.Cut(p, "/")
		names = append(names, class)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// reader returns a function that reads a whole object of a bucket.
func reader(b storage.Bucket, key string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) { return readImage(storage.ReadAll(ctx, b, key, maxImage)) }
}

// readImage makes an image that is too large, or has gone, one that cannot be read.
func readImage(data []byte, err error) ([]byte, error) {
	if errors.Is(err, storage.ErrSize) || errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return data, err
}
