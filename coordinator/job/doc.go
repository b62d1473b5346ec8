// Package job is the job file: what to train, from which images, with which loss.
//
// A job is a YAML file. Load reads one, fills in the defaults, and checks it as a whole: all its faults come in one
// [Error], each with its line, its key and what to do. What Load returns is a [Spec]. It is immutable once submitted,
// travels as JSON, and its [Spec.Digest] names the result: equal digests, data and code give equal students.
//
// [Fields] documents every key. The decoder takes types, bounds and defaults from it, and so does docs/job.md, so the
// documentation cannot differ from what the decoder does.
//
// The package is pure but for Load, which reads the one file that it is given.
package job
