package dataset

import (
	"context"
	"errors"
)

// fromFolder makes a source of a folder of images: those of ROOT/CLASS/... with the class as label, or, when no image lies in
// a folder of its own, those of ROOT without labels. Classes are sorted by name unless they are given. Images are files that
// end, in any case, with .png, .jpg, .jpeg, .gif, .bmp, .tif, .tiff, .webp, .ppm or .pgm; what is hidden is left out.
func fromFolder(t tree, leaves []leaf, refused []Refusal, classes []string) (*Source, error) {
	s := &Source{Place: t.origin(""), Refused: refused}
	var paths, stamps []string
	for _, l := range leaves {
		if isImage(l.path) {
			paths, stamps = append(paths, l.path), append(stamps, l.stamp)
		}
	}
	if len(paths) == 0 {
		return nil, errors.New("there are no images (PNG, JPEG, GIF, BMP, TIFF, WebP, PPM, PGM, by their usual endings) and no tar files")
	}
	names, labels, all, err := labelled(paths, classes)
	if err != nil {
		return nil, err
	}
	s.Classes = all
	for i, p := range paths {
		s.Images = append(s.Images, Image{
			Name: names[i], Label: labels[i], Origin: t.origin(p), Stamp: stamps[i],
			read: func(ctx context.Context) ([]byte, error) { return t.read(ctx, p) },
		})
	}
	return s, nil
}
