// Package storagetest is the acceptance suite of storage.Bucket, and buckets that fail on purpose.
//
// A test of a kind of bucket calls [Run] with a function that opens an empty one. A test of something that writes to a
// bucket wraps one in a [Faulty] and lets it fail at each operation in turn, as a process does that is killed there.
package storagetest
