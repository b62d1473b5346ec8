package cluster_test

import (
	"testing"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
)

// A worker that prepares is told of its share, rounded up, among the members and itself.
func TestShare(t *testing.T) {
	for _, x := range []struct{ lanes, members, want int }{{8, 0, 8}, {8, 1, 4}, {8, 2, 3}, {8, 7, 1}, {8, 12, 1}} {
		r := &cluster.Run{Submission: cluster.Submission{Spec: &job.Spec{Lanes: x.lanes}}}
		if x.members > 0 {
			r.Plan = &cluster.Plan{Members: make([]cluster.Member, x.members)}
		}
		if got := r.Share(); got != x.want {
			t.Errorf("%d lanes, %d members: %d, want %d", x.lanes, x.members, got, x.want)
		}
	}
}
