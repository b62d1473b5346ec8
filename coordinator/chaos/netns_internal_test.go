package chaos

import (
	"errors"
	"strings"
	"testing"
)

// TestRules: what a host loses, in nft's words. This process and the host itself stay reachable.
func TestRules(t *testing.T) {
	n := &netns{subnet: "198.19.7."}
	h := &host{net: n, address: "198.19.7.1"}
	const want = `table inet pupil
delete table inet pupil
table inet pupil {
 chain in {
  type filter hook input priority 0
  iifname lo accept
  ip saddr 198.19.7.254 accept
  ip saddr { 198.19.7.2, 198.19.7.3 } drop
  numgen random mod 1000 < 50 drop
 }
 chain out {
  type filter hook output priority 0
  oifname lo accept
  ip daddr 198.19.7.254 accept
  ip daddr { 198.19.7.2, 198.19.7.3 } drop
  numgen random mod 1000 < 50 drop
 }
}
`
	h.now, h.away = condition{lose: true}, []string{"198.19.7.2", "198.19.7.3"}
	if got := h.rules(); got != want {
		t.Errorf("rules:\n%s\nwant:\n%s", got, want)
	}
	h.now, h.away = condition{cut: true}, nil
	if got := h.rules(); strings.Count(got, "  drop\n") != 2 || strings.Contains(got, "numgen") {
		t.Errorf("rules of a cut:\n%s", got)
	}
	h.now = condition{}
	if got := h.rules(); strings.Contains(got, "drop") {
		t.Errorf("rules of a good link:\n%s", got)
	}
}

// TestCheckNetns: an error says what is missing, and what to do.
func TestCheckNetns(t *testing.T) {
	all := func(string) (string, error) { return "", nil }
	without := func(program string) func(string) (string, error) {
		return func(p string) (string, error) {
			if p == program {
				return "", errors.New("not found")
			}
			return "", nil
		}
	}
	if err := checkNetns("linux", 0, all); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		system string
		user   int
		look   func(string) (string, error)
		want   string
	}{
		{"darwin", 0, all, "Linux only"},
		{"linux", 1000, all, "run as root"},
		{"linux", 0, without("ip"), "install iproute2"},
		{"linux", 0, without("tc"), "install iproute2"},
		{"linux", 0, without("nft"), "install nftables"},
	} {
		if err := checkNetns(x.system, x.user, x.look); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s, user %d: error %v, want one that says %q", x.system, x.user, err, x.want)
		}
	}
}
