package job_test

import (
	"testing"

	"pupil/coordinator/job"
)

func TestGroupsOf(t *testing.T) {
	for _, c := range []struct {
		features             string
		given, width, groups int
	}{
		{"pooled", 0, 128, 16},
		{"pooled", 0, 1280, 160},
		{"pooled", 0, 100, 10},
		{"pooled", 0, 97, 1},
		{"pooled", 0, 8, 1},
		{"pooled", 0, 5, 1},
		{"pooled", 4, 128, 4},
		{"logits", 0, 1000, 1},
		{"logits", 5, 1000, 5},
	} {
		if got := (job.Term{Features: c.features, FeatureGroups: c.given}).GroupsOf(c.width); got != c.groups {
			t.Errorf("%+v: %d groups", c, got)
		}
	}
}
