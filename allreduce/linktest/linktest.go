// Package linktest holds implementations of allreduce.Link to one contract: that of the interface, and that rings over
// them keep their promises.
package linktest

import (
	"testing"
	"time"

	"pupil/allreduce"
)

// Open connects size ranks with new links, by rank, that carry messages of at least 300 KB. What is not closed when the
// test ends is for Open's Cleanup. Links that are io.Closers are closed by some tests.
type Open func(t testing.TB, size int) []allreduce.Link

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Messages", testMessages},
		{"Refused", testRefused},
		{"Closed", testClosed},
		{"Sums", testSums},
		{"Buckets", testBuckets},
		{"Abort", testAbort},
		{"Cancel", testCancel},
		{"DeadPeer", testDeadPeer},
		{"Leave", testLeave},
		{"Share", testShare},
		{"ShareAborted", testShareAborted},
		{"Recycled", testRecycled},
		{"Released", testReleased},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// patience bounds what must come. It is long, so that a busy machine does not matter.
const patience = time.Minute
