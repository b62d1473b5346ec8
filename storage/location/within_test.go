package location_test

import (
	"testing"

	"pupil/storage/location"
)

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		address, prefix string
		want            bool
	}{
		{"s3://bucket/team/a", "s3://bucket/team", true},
		{"s3://bucket/team", "s3://bucket/team/", true},
		{"s3://bucket/team/a", "s3://bucket", true},
		{"s3://bucket/team-b/a", "s3://bucket/team", false},
		{"s3://bucket/team/../other", "s3://bucket/team", false},
		{"s3://bucket/team/%2e%2e/other", "s3://bucket/team", false},
		{"s3://bucket2/team", "s3://bucket", false},
		{"s3://bucket.evil/team", "s3://bucket", false},
		{"s3://bucket/team?endpoint=http://elsewhere", "s3://bucket/team", false},
		{"s3://bucket/team/a?endpoint=http://here", "s3://bucket/team?endpoint=http://here", true},
		{"s3://user@bucket/team", "s3://bucket/team", false},
		{"file:///data/a", "file:///data", true},
		{"file:///data/a", "file:///", true},
		{"file:///database", "file:///data", false},
		{"file:///etc/passwd", "file:///data", false},
		{"file:data", "file:///", false},
		{"s3://data/a", "file:///data", false},
	} {
		if got, err := location.Within(c.address, c.prefix); got != c.want || err != nil {
			t.Errorf("%s within %s: %v, error %v", c.address, c.prefix, got, err)
		}
	}
	for _, bad := range [][2]string{{"s3://a b/%zz", "s3://a"}, {"s3://a", "s3://%zz"}} {
		if ok, err := location.Within(bad[0], bad[1]); ok || err == nil {
			t.Errorf("%q: %v, error %v", bad, ok, err)
		}
	}
}
