package agent

import (
	"testing"
	"time"
)

// TestSolitude: a worker that makes steps bears any time without a coordinator, and says so each minute; one that makes none has
// enough after its patience.
func TestSolitude(t *testing.T) {
	s := solitude{timeout: 3 * time.Second, patience: time.Hour}
	words := 0
	for second := range 10 * 3600 {
		say, over := s.pass(time.Second, second/60) // a step a minute
		if over {
			t.Fatalf("it has enough after %d s, though it makes steps", second)
		}
		if say {
			words++
		}
	}
	if words < 595 || words > 600 {
		t.Errorf("%d words in ten hours", words)
	}
	last := -1
	for second := range 2 * 3600 {
		if _, over := s.pass(time.Second, 1); over {
			last = second
			break
		}
	}
	if last != 3601 { // the first second saw the counter change
		t.Errorf("without steps it had enough after %d s", last)
	}
	if !s.end() || s.end() {
		t.Error("an answer ends it once")
	}
	if _, over := s.pass(time.Second, 1); over || s.silent != time.Second {
		t.Errorf("after an answer: %+v", s)
	}
	forever := solitude{timeout: time.Second}
	if _, over := forever.pass(1000*time.Hour, 0); over {
		t.Error("without a patience it has enough")
	}
}

// TestUntold: notices are told in order, of too many the oldest are left out, and after the end nobody waits for any.
func TestUntold(t *testing.T) {
	u := newUntold()
	for i := range mostUntold + 2 {
		dropped := u.add(notice{generation: uint64(i)})
		if full := i >= mostUntold; full != (len(dropped) == 1) || full && dropped[0].generation != uint64(i-mostUntold) {
			t.Fatalf("notice %d: left out %v", i, dropped)
		}
	}
	for want := uint64(2); want < 5; want++ {
		if n, ok := u.next(); !ok || n.generation != want {
			t.Fatalf("%+v, %v; want that of generation %d", n, ok, want)
		}
	}
	if left := u.end(); len(left) != mostUntold-3 {
		t.Errorf("%d are left", len(left))
	}
	if dropped := u.add(notice{generation: 9}); len(dropped) != 1 || dropped[0].generation != 9 {
		t.Errorf("after the end: left out %v", dropped)
	}
	if _, ok := u.next(); ok {
		t.Error("after the end there is one")
	}
}
