package diskcache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/storage/diskcache"
)

func size(t *testing.T, folder string) (total int64, names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".piece") {
			total += info.Size()
			names = append(names, strings.TrimSuffix(e.Name(), ".piece"))
		}
	}
	return total, names
}

// has tells whether there is a piece of a size.
func has(c *diskcache.Cache, name string, size int64) bool {
	_, whole := c.Read(name, 0, size)
	_, more := c.Read(name, 0, size+1)
	return whole && !more
}

func TestReadAndAdd(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "when needed")
	c := diskcache.New(folder, 1000, nil)
	if _, ok := c.Read("a", 0, 1); ok || has(c, "a", 5) {
		t.Error("an empty cache has a piece")
	}
	c.Add(t.Context(), "a", []byte("hello"))
	for _, other := range []*diskcache.Cache{c, diskcache.New(folder, 1000, nil)} { // another process
		if data, ok := other.Read("a", 1, 3); !ok || string(data) != "ell" || !has(other, "a", 5) || has(other, "a", 4) {
			t.Errorf("Read = %q, %t", data, ok)
		}
	}
	if _, ok := c.Read("a", 3, 3); ok {
		t.Error("a piece that is too short was read")
	}
	c.Add(t.Context(), "large", make([]byte, 1001))
	if has(c, "large", 1001) {
		t.Error("a piece over the limit was kept")
	}
	c.Drop("a")
	if has(c, "a", 5) {
		t.Error("a dropped piece is there")
	}
}

// TestLeastRecentlyUsed fills a cache over its limit: what was used last stays.
func TestLeastRecentlyUsed(t *testing.T) {
	folder := t.TempDir()
	c := diskcache.New(folder, 1000, nil)
	for i := range 9 {
		name := fmt.Sprint(i)
		c.Add(t.Context(), name, make([]byte, 100))
		old := time.Now().Add(time.Duration(i-20) * time.Hour)
		if err := os.Chtimes(filepath.Join(folder, name+".piece"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := c.Read("0", 0, 100); !ok { // the oldest is used
		t.Fatal("a piece is missing")
	}
	stale := filepath.Join(folder, ".tmp-dead")
	if err := os.WriteFile(stale, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(stale, time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		c.Add(t.Context(), fmt.Sprintf("new%d", i), make([]byte, 100))
	}
	total, names := size(t, folder)
	if total > 1000 || !strings.Contains(strings.Join(names, " "), "0 ") || has(c, "1", 100) || has(c, "2", 100) || !has(c, "8", 100) || !has(c, "new3", 100) {
		t.Errorf("%d bytes: %q", total, names)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("what a dead process left is still there")
	}
}

// TestManyUsers has caches of one folder add and read at the same time: the limit holds, and no piece is a mixture.
func TestManyUsers(t *testing.T) {
	folder := t.TempDir()
	const limit = 50_000
	var wg sync.WaitGroup
	for range 4 {
		c := diskcache.New(folder, limit, nil)
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprint(i % 50)
				want := bytes.Repeat([]byte{byte(i % 50)}, 2000)
				if got, ok := c.Read(name, 0, 2000); ok && !bytes.Equal(got, want) {
					t.Errorf("piece %s is another", name)
				} else if !ok {
					c.Add(context.Background(), name, want)
				}
			}
		})
	}
	wg.Wait()
	if total, names := size(t, folder); total > limit+limit/2 || len(names) == 0 {
		t.Errorf("%d bytes in %d pieces; the limit is %d", total, len(names), limit)
	}
}

// TestBrokenFolder uses a place that cannot be a folder: nothing is kept, nothing fails.
func TestBrokenFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := diskcache.New(filepath.Join(file, "below"), 1000, nil)
	c.Add(t.Context(), "a", []byte("x"))
	if _, ok := c.Read("a", 0, 1); ok {
		t.Error("a piece came from nowhere")
	}
	c.Drop("a")
}

func TestFromEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		"": "ok", "0": "none", "500MB": "ok", "1.5 gb": "ok", "100": "ok", "-1": "no size", "many": "no size", "1e400": "no size",
	} {
		c, err := diskcache.FromEnvironment(func(name string) string {
			return map[string]string{"PUPIL_CACHE_SIZE": text, "PUPIL_CACHE_DIR": t.TempDir()}[name]
		}, nil)
		got := "ok"
		if err != nil {
			got = err.Error()
		} else if c == nil {
			got = "none"
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func Example() {
	folder, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
	}
	defer os.RemoveAll(folder)
	c := diskcache.New(folder, 1<<20, nil)
	c.Add(context.Background(), "piece", []byte("some bytes"))
	data, ok := c.Read("piece", 5, 5)
	fmt.Printf("%s %t\n", data, ok)
	// Output: bytes true
}

// TestWrite puts parts into a piece: what nobody has written is a hole, which does not count.
func TestWrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made")
	const far = 1 << 20
	c := diskcache.New(folder, 200_000, nil)
	for i := range 8 { // 8 MB with the holes
		c.Write(t.Context(), fmt.Sprint(i), far, bytes.Repeat([]byte{byte(i + 1)}, 10_000))
	}
	for i := range 8 {
		got, ok := c.Read(fmt.Sprint(i), far-2, 4)
		if want := []byte{0, 0, byte(i + 1), byte(i + 1)}; !ok || !bytes.Equal(got, want) {
			t.Errorf("piece %d: %v, %t; want %v", i, got, ok, want)
		}
	}
	c.Write(t.Context(), "0", far-1, []byte{7, 8})
	if got, ok := c.Read("0", far-2, 4); !ok || !bytes.Equal(got, []byte{0, 7, 8, 1}) {
		t.Errorf("written again: %v", got)
	}
	if _, ok := c.Read("0", far+9_999, 2); ok {
		t.Error("a part behind the end was read")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.Write(ended, "late", 0, []byte("x"))
	c.Write(t.Context(), "large", 0, make([]byte, 200_001))
	if has(c, "late", 1) || has(c, "large", 200_001) {
		t.Error("what must not be written was")
	}
	for i := range 40 { // over the limit: the oldest go
		c.Write(t.Context(), fmt.Sprint("more", i), 0, make([]byte, 10_000))
	}
	if total, names := size(t, folder); len(names) > 25 || !strings.Contains(strings.Join(names, " "), "more39") {
		t.Errorf("%d bytes in %q; the limit is 200000", total, names)
	}
}

// TestFullDisk writes to a device that is always full: room is made, the user hears once, and nothing fails.
func TestFullDisk(t *testing.T) {
	folder := t.TempDir()
	var log bytes.Buffer
	c := diskcache.New(folder, 1000, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 9 {
		c.Add(t.Context(), fmt.Sprint(i), make([]byte, 100))
	}
	if err := os.Symlink("/dev/full", filepath.Join(folder, "full.piece")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.Write(t.Context(), "full", 0, make([]byte, 100))
	}
	if total, names := size(t, folder); total > 500+100 || len(names) == 0 {
		t.Errorf("%d bytes in %q; half of the limit was to be left", total, names)
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("the user was told %d times: %s", n, log.String())
	}
}
