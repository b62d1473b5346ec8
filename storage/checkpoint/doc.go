// Package checkpoint keeps the state of a run in a bucket, so that training can go on from it bit for bit.
//
//	checkpoints/00000100/params-1a2b3c4d5e6f7a8b.safetensors      the parts, each a safetensors file; the name holds a
//	checkpoints/00000100/optimizer-8b7a6f5e4d3c2b1a.safetensors   piece of the SHA-256
//	checkpoints/00000100/manifest.json                            written last: sizes and SHA-256, digests of job and data
//
// A checkpoint without a manifest does not exist, and one whose parts do not have the sizes and hashes of its manifest
// is not whole; [Latest] passes over both, says so, and gives the newest whole one. The manifest holds a hash of
// itself. So a process that is killed at any moment of [Save] or [Prune] costs at most the checkpoint that it was
// writing.
//
// Parts of different content have different names, and the manifest is created only where there is none: of several processes
// that save a step at the same time one wins, and no checkpoint is a mixture. Any number of processes may read.
package checkpoint
