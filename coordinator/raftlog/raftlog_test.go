package raftlog_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/raftlog"
)

// A test process with this variable set is not one that tests, see TestKill.
const childVariable = "PUPIL_RAFTLOG_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

func open(t testing.TB, dir string, o raftlog.Options) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, l) })
	return l
}

func closed(t testing.TB, l *raftlog.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func apply(t testing.TB, l *raftlog.Log, c cluster.Command) {
	t.Helper()
	if err := l.Apply(context.Background(), c); err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
}

func encode(t testing.TB, l *raftlog.Log) string {
	t.Helper()
	data, err := l.State().Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func submit(name string) cluster.Submit {
	return cluster.Submit{Submission: cluster.Submission{
		Run: name, Spec: &job.Spec{Name: name, Lanes: 2}, MinWorkers: 1, Restore: -1,
	}}
}

func join(i int) cluster.Join {
	return cluster.Join{Worker: fmt.Sprintf("w%03d", i), Session: "s", Host: "h", Threads: 1}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	l := open(t, dir, raftlog.Options{Now: func() time.Time { return at }})
	apply(t, l, submit("a"))
	for i := range 20 {
		apply(t, l, join(i))
	}
	err := l.Apply(t.Context(), submit("a"))
	if !errors.Is(err, cluster.ErrRefused) {
		t.Errorf("a second run of the same name: error %v", err)
	}
	want := encode(t, l)
	if s := l.State(); s.Sequence != 21 || !s.Runs[0].Submitted.Equal(at) {
		t.Errorf("state %+v", s)
	}
	closed(t, l)
	if err := l.Apply(context.Background(), join(1)); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("apply after close: error %v", err)
	}

	for range 3 { // each start has another address
		l = open(t, dir, raftlog.Options{})
		if got := encode(t, l); got != want {
			t.Fatalf("after a restart the state is\n%s, want\n%s", got, want)
		}
		closed(t, l)
	}
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, raftlog.Options{SnapshotThreshold: 4})
	for i := range 50 {
		apply(t, l, join(i))
		if i%10 == 0 {
			if err := l.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := encode(t, l)
	closed(t, l)
	if snapshots, err := filepath.Glob(filepath.Join(dir, "snapshots", "*")); err != nil || len(snapshots) != 2 {
		t.Errorf("snapshots %q, %v; want the newest two", snapshots, err)
	}
	l = open(t, dir, raftlog.Options{})
	if got := encode(t, l); got != want {
		t.Errorf("after a restart the state is\n%s, want\n%s", got, want)
	}
	apply(t, l, join(77))
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, raftlog.Options{})
	_, err := raftlog.Open(t.Context(), dir, raftlog.Options{})
	if !errors.Is(err, raftlog.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("opened twice: error %v", err)
	}
	closed(t, l)
	open(t, dir, raftlog.Options{})
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := raftlog.Open(t.Context(), file, raftlog.Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("open a file: error %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	dir := t.TempDir()
	if _, err := raftlog.Open(ctx, dir, raftlog.Options{}); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("open with a context that is done: error %v", err)
	}
	open(t, dir, raftlog.Options{}) // the first start that failed is no harm
}

// editLog changes the log of a folder that is not open.
func editLog(t *testing.T, dir string, edit func(*wal.WAL) error) {
	t.Helper()
	dir = filepath.Join(dir, "wal")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	meta := &metadb.BoltMetaDB{}
	w, err := wal.Open(dir, wal.WithMetaStore(meta), wal.WithSegmentSize(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(edit(w), w.Close(), meta.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenFirstStart begins where a process was killed between writing its first term and its first entry.
func TestBrokenFirstStart(t *testing.T) {
	dir := t.TempDir()
	editLog(t, dir, func(w *wal.WAL) error { return w.SetUint64([]byte("CurrentTerm"), 1) })
	apply(t, open(t, dir, raftlog.Options{}), join(1))
}

// TestNewerLog opens a log with a command that this version does not know.
func TestNewerLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, raftlog.Options{})
	apply(t, l, join(1))
	closed(t, l)
	editLog(t, dir, func(w *wal.WAL) error {
		last, err := w.LastIndex()
		if err != nil {
			return err
		}
		var entry raft.Log
		if err := w.GetLog(last, &entry); err != nil {
			return err
		}
		data := []byte(`{"version":1,"at":"2024-05-06T07:08:09Z","kind":"dance","body":{}}`)
		return w.StoreLog(&raft.Log{Index: last + 1, Term: entry.Term, Type: raft.LogCommand, Data: data})
	})
	_, err := raftlog.Open(t.Context(), dir, raftlog.Options{})
	if err == nil || !strings.Contains(err.Error(), "written by a newer version") {
		t.Errorf("error %v", err)
	}
}

func TestConcurrentApply(t *testing.T) {
	l := open(t, t.TempDir(), raftlog.Options{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if err := l.Apply(context.Background(), join(i)); err != nil {
				t.Error(err)
			}
			l.State()
		})
	}
	wg.Wait()
	if n := len(l.State().Workers); n != 32 {
		t.Errorf("%d workers", n)
	}
}

// TestLogger holds raft to the debug level.
func TestLogger(t *testing.T) {
	var out lockedBuffer
	quiet := slog.New(slog.NewTextHandler(&out, nil))
	closed(t, open(t, t.TempDir(), raftlog.Options{Logger: quiet}))
	if out.String() != "" {
		t.Errorf("at info level raft logs %s", out.String())
	}
	verbose := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	closed(t, open(t, t.TempDir(), raftlog.Options{Logger: verbose}))
	if !strings.Contains(out.String(), "entering leader state") {
		t.Errorf("at debug level raft logs %s", out.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestKill kills a process that writes, several times at some point of its writing, and finds all that it was told to
// be written, and no more than one command besides.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	told := 0
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &told); err != nil {
				t.Errorf("the child says %q", lines.Text())
			}
			if told%20 == 0 {
				_ = cmd.Process.Kill() // it may write on until the signal comes; then the pipe ends
			}
		}
		_ = cmd.Wait() // killed
		if told < 20*(round+1) {
			t.Fatalf("round %d: only %d commands", round, told)
		}
		l := open(t, dir, raftlog.Options{})
		if n := len(l.State().Workers); n != told && n != told+1 {
			t.Fatalf("round %d: %d commands were confirmed, %d are there", round, told, n)
		} else {
			told = n
		}
		closed(t, l)
	}
}

// child adds workers to the log in dir and prints their number, without end.
func child(dir string) int {
	l, err := raftlog.Open(context.Background(), dir, raftlog.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for n := len(l.State().Workers) + 1; ; n++ {
		if err := l.Apply(context.Background(), join(n)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(n)
	}
}

func BenchmarkApply(b *testing.B) {
	l := open(b, b.TempDir(), raftlog.Options{})
	apply(b, l, submit("a"))
	apply(b, l, cluster.Join{Worker: "w", Session: "s"})
	d, _ := cluster.Decide(l.State(), time.Now(), cluster.DefaultConfig())
	apply(b, l, d.Command)
	for i := 0; b.Loop(); i++ {
		apply(b, l, cluster.Committed{Run: "a", Generation: 1, Step: i})
	}
}
