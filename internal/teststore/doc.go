// Package teststore starts real S3-compatible stores for tests: versitygw, which is light, and MinIO, which users run. Each
// is a process beside the test, on loopback, with keys of its own. What is missing is built once and kept outside of the
// tree, in ~/.cache/pupil/tools.
package teststore
