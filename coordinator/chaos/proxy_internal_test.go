package chaos

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestProxy: what is sent while nothing passes is not lost, it comes when the way is free again; the end closes all.
func TestProxy(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p, err := newProxy(t.Context(), target.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	here, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	pass := func(word string) {
		t.Helper()
		if _, err := io.WriteString(here, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(there, got); err != nil || string(got) != word {
			t.Fatalf("%q came, %v; want %q", got, err, word)
		}
	}
	pass("free")
	p.set(false, true)
	pass("slow")
	p.set(true, false)
	if _, err := io.WriteString(here, "cut off"); err != nil {
		t.Fatal(err)
	}
	if err := there.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := there.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("something passed a cut connection")
	}
	if err := there.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	p.set(false, false)
	got := make([]byte, len("cut off"))
	if _, err := io.ReadFull(there, got); err != nil || string(got) != "cut off" {
		t.Errorf("after the cut %q came, %v", got, err)
	}
	p.close()
	if _, err := there.Read(got); err == nil {
		t.Error("the connection outlives the proxy")
	}
}
