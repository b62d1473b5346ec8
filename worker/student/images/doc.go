// Package images finds the images that a user names, whatever they lie in: files, folders, globs, objects and prefixes of
// buckets, packed datasets, tar files, and standard input.
//
//	set, err := images.Open(ctx, []string{"cat.jpg", "photos/", "s3://bucket/faces"}, os.Stdin)
//	for item, err := range set.All(ctx) {
//		...
//		data, err := item.Read(ctx) // encoded
//	}
//
// Images come in a fixed order: that of the arguments, within a folder or a prefix sorted by path. The class of an image
// is its label in a packed dataset, or the folder below the argument in which it lies, when all lie in such folders.
package images
