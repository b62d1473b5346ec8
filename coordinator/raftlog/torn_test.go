package raftlog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"pupil/coordinator/raftlog"
)

// TestTornRecord restarts from a log whose last record was cut at each of its bytes, as a loss of power leaves it: what
// was written before is there, the last command is there whole or not at all, and the log goes on.
func TestTornRecord(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, raftlog.Options{})
	apply(t, l, submit("a"))
	apply(t, l, join(1))
	before := encode(t, l)
	segment := segmentOf(t, dir)
	begin := used(t, segment)
	apply(t, l, join(2))
	after := encode(t, l)
	closed(t, l)
	whole, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(whole, "\x00"))
	if end-begin < 50 {
		t.Fatalf("the last record is at bytes %d to %d", begin, end)
	}
	last := lastIndex(t, dir)
	for cut := begin; cut <= end; cut++ {
		torn := bytes.Clone(whole)
		clear(torn[cut:])
		rewrite(t, segment, torn[begin:end+64], int64(begin))
		want := last - 1
		if cut == end {
			want = last
		}
		if got := lastIndex(t, dir); got != want && !(got == last && bytes.Equal(torn, whole)) {
			t.Fatalf("cut at byte %d of %d to %d: the last entry is %d, want %d", cut, begin, end, got, want)
		}
	}
	// The whole way, as a coordinator starts, for some of the cuts. Each start writes to the log, so it has a copy.
	for cut := begin; cut <= end; cut += (end - begin) / 4 {
		again := t.TempDir()
		if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		torn := bytes.Clone(whole)
		clear(torn[cut:])
		rewrite(t, segmentOf(t, again), torn[begin:end+64], int64(begin))
		l := open(t, again, raftlog.Options{})
		if got := encode(t, l); got != before && got != after {
			t.Errorf("cut at byte %d: the state is\n%s, want\n%s", cut, got, before)
		}
		apply(t, l, join(3))
		want := encode(t, l)
		closed(t, l)
		l = open(t, again, raftlog.Options{})
		if got := encode(t, l); got != want {
			t.Errorf("cut at byte %d, then one command more: the state is\n%s, want\n%s", cut, got, want)
		}
		closed(t, l)
	}
}

func segmentOf(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil || len(found) != 1 {
		t.Fatalf("segments %q, error %v", found, err)
	}
	return found[0]
}

// used is where a segment's zeros begin.
func used(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return len(bytes.TrimRight(data, "\x00"))
}

func rewrite(t *testing.T, path string, data []byte, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// lastIndex opens the log alone. What recovery writes does not matter: the bytes are written anew for the next cut.
func lastIndex(t *testing.T, dir string) (last uint64) {
	t.Helper()
	editLog(t, dir, func(w *wal.WAL) (err error) {
		if last, err = w.LastIndex(); err != nil {
			return err
		}
		var entry raft.Log
		return w.GetLog(last, &entry)
	})
	return last
}
