// Package s3 keeps a bucket in an S3-compatible store.
//
// One URL says where, and the environment who: [Parse] reads
//
//	s3://bucket/prefix?endpoint=https://store:9000&region=eu-1&path_style=true&ca=/etc/ca.pem&credentials=file&profile=x
//
// where every part behind the bucket may be left out. What the URL leaves open comes from PUPIL_S3_* variables, then from
// those that other S3 programs use (AWS_*). Keys are never part of a URL: a URL stands in job files, logs and status.
//
// Requests are repeated, with growing and random pauses, when the store answers with 5xx, asks to slow down, does not answer
// in time, or cannot be reached. A reader whose connection breaks goes on where it was, with the same version of the
// object, or fails; it never mixes two. Objects larger than a part are uploaded in parts, in parallel; an upload that fails
// is taken back.
package s3
