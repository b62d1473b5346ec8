package s3

import (
	"testing"
	"time"
)

// TestAddressing looks at the address that requests go to.
func TestAddressing(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		endpoint string
		style    *bool
		want     string
	}{
		{"", nil, "data.s3.dualstack.eu-west-1.amazonaws.com/"},
		{"", &yes, "s3.dualstack.eu-west-1.amazonaws.com/data/"},
		{"http://store:9000", nil, "store:9000/data/"},
		{"http://store:9000", &no, "data.store:9000/"},
	} {
		c := Config{Bucket: "data", Endpoint: tt.endpoint, Region: "eu-west-1", PathStyle: tt.style, AccessKey: "a", SecretKey: "b", Credentials: Auto}
		client, err := connect(c.withDefaults(), 1)
		if err != nil {
			t.Fatal(err)
		}
		u, err := client.PresignedGetObject(t.Context(), "data", "key", time.Hour, nil)
		if err != nil || u.Host+u.Path != tt.want+"key" {
			t.Errorf("%q: address %s%s, %v; want %s", tt.endpoint, u.Host, u.Path, err, tt.want)
		}
	}
}
