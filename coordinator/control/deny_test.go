package control_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/control"
)

// TestDeny: those whose token's mark is denied are thrown out and let in no more; the others stay.
func TestDeny(t *testing.T) {
	b, err := control.StartBroker(control.BrokerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	users := b.Users()
	gone, stays := users.Mark("gone"), users.Mark("stays")
	if gone == stays || strings.Contains(gone, "gone") {
		t.Fatalf("marks %s and %s", gone, stays)
	}
	connect := func(mark string) (*nats.Conn, error) {
		as := users.WorkerAccess("w0", "s", time.Now().Add(time.Hour), mark)
		return nats.Connect(b.URL(), nats.UserInfo(as.User, as.Password), nats.NoReconnect())
	}
	open := map[string]*nats.Conn{}
	for _, mark := range []string{"", gone, stays} {
		if open[mark], err = connect(mark); err != nil {
			t.Fatal(err)
		}
		defer open[mark].Close()
	}
	b.Deny(func(mark string) bool { return mark == gone })
	for _, mark := range []string{"", stays} {
		if err := open[mark].Flush(); err != nil {
			t.Errorf("mark %q: error %v", mark, err)
		}
		nc, err := connect(mark)
		if err != nil {
			t.Fatalf("mark %q: error %v", mark, err)
		}
		nc.Close()
	}
	if err := open[gone].Flush(); err == nil {
		t.Error("a worker whose token is gone is still connected")
	}
	if nc, err := connect(gone); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("a worker whose token is gone connects anew: error %v", err)
	}
	// Without its mark, or with another one, the user's password does not fit.
	as := users.WorkerAccess("w0", "s", time.Now().Add(time.Hour), gone)
	for _, user := range []string{strings.TrimSuffix(as.User, " "+gone), strings.TrimSuffix(as.User, gone) + stays} {
		if nc, err := nats.Connect(b.URL(), nats.UserInfo(user, as.Password), nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
			nc.Close()
			t.Errorf("the user %q: error %v", user, err)
		}
	}
}
