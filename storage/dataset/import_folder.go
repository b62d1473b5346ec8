package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"pupil/storage"
)

// ImportFolder packs the images below a folder: those of ROOT/CLASS/... with the class as label, or, when no image lies
// in a folder of its own, those of ROOT without labels. Classes are sorted by name unless the options give them. Images
// are files that end with .png, .jpg, .jpeg, .gif, .bmp, .tif, .tiff or .webp; they are stored as they are.
//
// Images of a class come in the order of their paths, the classes evenly mixed, so that every shard, and so every lane,
// has its share of each class. The same files and options give the same bytes.
func ImportFolder(ctx context.Context, dst storage.Bucket, root string, o ImportOptions) (Manifest, error) {
	m, err := importFolder(ctx, dst, os.DirFS(root), o)
	if err != nil {
		return Manifest{}, fmt.Errorf("import %s: %w", root, err)
	}
	return m, nil
}

// source is an image file of a folder.
type source struct {
	path, name string  // below the root; below the class
	label      int     //
	place      float64 // in its class, from 0 to 1
}

func importFolder(ctx context.Context, dst storage.Bucket, root fs.FS, o ImportOptions) (Manifest, error) {
	if err := o.validate(); err != nil {
		return Manifest{}, err
	}
	paths, err := imagePaths(ctx, root)
	if err != nil {
		return Manifest{}, err
	}
	if len(paths) == 0 {
		return Manifest{}, errors.New("there are no images (PNG, JPEG, GIF, BMP, TIFF, WebP, by their usual suffixes)")
	}
	labelled, err := hasClasses(paths)
	if err != nil {
		return Manifest{}, err
	}
	switch {
	case labelled && len(o.Classes) == 0:
		o.Classes = classNames(paths)
	case !labelled && len(o.Classes) > 0:
		return Manifest{}, errors.New("classes are named, but the images do not lie in folders of classes")
	}
	sources, err := choose(paths, o)
	if err != nil {
		return Manifest{}, err
	}
	w, err := NewWriter(dst, WriterOptions{ShardSize: o.ShardSize, Classes: o.Classes})
	if err != nil {
		return Manifest{}, err
	}
	for _, s := range sources {
		encoded, err := fs.ReadFile(root, s.path)
		if err != nil {
			return Manifest{}, err
		}
		if err := o.add(ctx, w, s.name, s.label, encoded); err != nil {
			return Manifest{}, err
		}
	}
	if err := w.Close(ctx); err != nil {
		return Manifest{}, err
	}
	return w.Manifest(), nil
}

// imagePaths returns the paths of all image files, sorted by the elements of the path.
func imagePaths(ctx context.Context, root fs.FS) ([]string, error) {
	var out []string
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && !d.IsDir() && isImage(file) {
			out = append(out, file)
		}
		return err
	})
	return out, err
}

func isImage(file string) bool {
	switch strings.ToLower(path.Ext(file)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp":
		return !strings.HasPrefix(path.Base(file), ".")
	}
	return false
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

// choose applies PerClass and Skip, and mixes the classes.
func choose(paths []string, o ImportOptions) ([]source, error) {
	labels := make(map[string]int, len(o.Classes))
	for label, name := range o.Classes {
		labels[name] = label
	}
	chooser := newChooser(len(o.Classes), o)
	var out []source
	counts := make([]int, len(o.Classes)+1) // of chosen images, by label + 1
	for _, p := range paths {
		s := source{path: p, name: p, label: -1}
		if len(o.Classes) > 0 {
			class, name, _ := strings.Cut(p, "/")
			label, ok := labels[class]
			if !ok {
				return nil, fmt.Errorf("the folder %s is not among the %d classes that are named", class, len(o.Classes))
			}
			s.name, s.label = name, label
		}
		if chooser.take(s.label) {
			s.place = float64(counts[s.label+1])
			counts[s.label+1]++
			out = append(out, s)
		}
	}
	for i, s := range out {
		out[i].place = (s.place + 0.5) / float64(counts[s.label+1])
	}
	slices.SortStableFunc(out, func(a, b source) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.label, b.label))
	})
	return out, chooser.check(o.Classes)
}
