package hostport_test

import (
	"fmt"
	"strings"
	"testing"

	"pupil/internal/hostport"
)

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:4223": "", "worker-0.pupil:65535": "", "[::1]:1": "",
		"": "not HOST:PORT", "host": "not HOST:PORT", "::1:1": "not HOST:PORT", "host:0": "1 to 65535", "host:x": "1 to 65535",
		"host:65536": "1 to 65535", ":1": "names no machine", "0.0.0.0:1": "names no machine", "[::]:1": "names no machine",
		strings.Repeat("h", 300) + ":1": "at most",
	} {
		err := hostport.Check(address)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want %q", address, err, want)
		}
	}
	for address, ok := range map[string]bool{":0": true, "0.0.0.0:4223": true, "[::]:1": true, "host": false, ":x": false, ":70000": false} {
		if err := hostport.CheckListen(address); (err == nil) != ok {
			t.Errorf("listen on %q: error %v", address, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:4223": true, "127.9.9.9:1": true,
		"10.0.0.1:1": false, "localhost:1": false, ":1": false, "[::]:1": false, "127.0.0.1": false, "": false,
	} {
		if got := hostport.Loopback(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func Example() {
	fmt.Println(hostport.Check("0.0.0.0:4223"))
	// Output: address "0.0.0.0:4223" names no machine that others could connect to
}
