// Package checkpoint keeps the state of a run in a bucket, so that training can go on from it bit for bit.
//
//	checkpoints/00000100/params.safetensors     the parts, each a safetensors file
//	checkpoints/00000100/optimizer.safetensors
//	checkpoints/00000100/manifest.json          written last: sizes and SHA-256 of the parts, digests of job and data
//
// A checkpoint without a manifest does not exist, and one whose parts do not have the sizes and hashes of its manifest
// is not whole; [Latest] passes over both, says so, and gives the newest whole one. The manifest holds a hash of
// itself. So a process that is killed at any moment of [Save] or [Retain] costs at most the checkpoint that it was
// writing.
//
// At any time at most one process writes (Save, Retain) to a run; any number may read.
package checkpoint
