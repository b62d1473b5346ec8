// Package dataset keeps many encoded images in few objects of a bucket, and says which of them a training step uses.
//
// A packed dataset is
//
//	manifest.json      number of images, classes, channels, mean and deviation, the SHA-256 of every shard and index
//	shard-00000.tar    a plain tar file: CLASS/NAME.png for an image with a label, NAME.png for one without
//	shard-00000.json   the shard's index: name, offset, size and label of each image
//
// so a shard can be read with tar alone. A [Writer] packs, and gives the same bytes for the same images in the same
// order. A [Dataset] reads, and hands out nothing that does not have the hash that the manifest promises; the SHA-256
// of the manifest, [Dataset.Digest], therefore stands for the whole dataset.
//
// [Order] is the other half: a pure function from (seed, epoch, step, lane) to the samples of that lane in that step,
// the ledger by which each sample is used at most once in an epoch whoever carries the lanes (DESIGN section 7).
package dataset
