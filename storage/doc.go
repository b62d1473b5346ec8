// Package storage is the contract of a place that keeps objects: a folder, an S3-compatible store, or memory.
//
// [Bucket] is the contract, and package storagetest its acceptance suite. Package location opens a bucket by its URL.
// What is kept in buckets has packages of its own: safetensors (weights), dataset (packed images), checkpoint (the
// state of a run). They rely on two promises: a Put is seen whole or not at all, and a key is valid or refused before
// any I/O.
//
// Several users share a bucket by prefixes:
//
//	run := storage.Prefix(bucket, "runs/one") // keys of run are keys of bucket under "runs/one/"
package storage
