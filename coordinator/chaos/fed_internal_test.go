package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNewestFed reads on where it has ended, and leaves a line that is still being written for the next time.
func TestNewestFed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker-0.jsonl")
	if step, next := newestFed(file, 0); step != 0 || next != 0 {
		t.Errorf("no file: step %d, %d bytes", step, next)
	}
	at := int64(0)
	for _, c := range []struct {
		text string
		want int
	}{
		{`{"step":3,"lane":0}` + "\n" + `{"step":4,"lane":0}` + "\n" + `{"st`, 4},
		{`ep":5,"lane":1}`, 0},
		{"\n", 5},
		{"", 0},
	} {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(c.text)
		if e := f.Close(); err != nil || e != nil {
			t.Fatal(err, e)
		}
		step, next := newestFed(file, at)
		if at = next; step != c.want {
			t.Errorf("after %q the newest step is %d, want %d", c.text, step, c.want)
		}
	}
}

// TestSeen: what workers record counts once, whoever tells it first.
func TestSeen(t *testing.T) {
	line := &timeline{moved: make(chan struct{})}
	now := time.Now()
	line.add(1, 1, now)
	line.seen(2, now)
	line.add(1, 2, now)
	line.seen(1, now)
	line.seen(3, now)
	if steps, lost := line.commits(); len(steps) != 3 || steps[2].step != 3 || lost != 0 {
		t.Errorf("steps %v, %d lost", steps, lost)
	}
	line.add(2, 2, now) // a generation that begins below
	if _, lost := line.commits(); lost != 1 {
		t.Errorf("%d steps are lost", lost)
	}
}
