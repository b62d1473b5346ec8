// Package diskcache keeps pieces of remote objects in a folder of this machine, up to a size, for all processes that use the
// folder.
//
// Add writes a piece beside its place and renames it into it, so that a crash leaves no half of one. Write puts parts into a piece
// one by one: what nobody has written yet is a hole, which takes no room and reads as zeros. The pieces that were not used for
// longest go first. A cache never fails its user: a folder that cannot be written, or a full disk, only costs the next use another
// download. It does not know what a piece must hold: its user checks that, and calls Drop, or writes again, where it is damaged.
package diskcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultSize is the limit of a cache when the environment sets none.
const DefaultSize = 10 << 30

const (
	suffix    = ".piece"
	temporary = ".tmp-"
	lockName  = ".lock"
	abandoned = time.Hour   // after which a temporary file is a dead process's
	touched   = time.Minute // how exactly the last use is kept
)

// Cache is a folder of pieces. It is safe for concurrent use, by several processes too.
type Cache struct {
	folder string
	limit  int64 // bytes
	logger *slog.Logger

	mu    sync.Mutex
	added int64 // bytes, since the folder was last measured
	ready bool  // it was measured once
	told  bool  // that something is wrong with the folder
}

// New returns the cache in a folder, which is made when it is first used, with a limit in bytes. logger may be nil.
func New(folder string, limit int64, logger *slog.Logger) *Cache {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Cache{folder: folder, limit: limit, logger: logger}
}

// FromEnvironment returns the cache that PUPIL_CACHE_DIR and PUPIL_CACHE_SIZE describe: a folder (default: pupil/blocks below
// the user's folder of caches) and a size, as 500MB or 20GB (default 10GB); 0 gives nil, no cache.
func FromEnvironment(getenv func(string) string, logger *slog.Logger) (*Cache, error) {
	limit := int64(DefaultSize)
	if text := getenv("PUPIL_CACHE_SIZE"); text != "" {
		var err error
		if limit, err = ParseSize(text); err != nil {
			return nil, fmt.Errorf("PUPIL_CACHE_SIZE: %w", err)
		}
	}
	folder := getenv("PUPIL_CACHE_DIR")
	if limit == 0 {
		return nil, nil
	}
	if folder == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir() // a service without a home
		}
		folder = filepath.Join(base, "pupil", "blocks")
	}
	return New(folder, limit, logger), nil
}

// ParseSize reads a size in bytes, as 500MB or 20GB.
func ParseSize(text string) (int64, error) {
	number, factor := strings.ToUpper(strings.TrimSpace(text)), int64(1)
	for unit, f := range map[string]int64{"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, factor = strings.TrimSpace(n), f
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*float64(factor) < 1<<62) {
		return 0, fmt.Errorf("%q is no size; it is written as 500MB or 20GB, or 0 for no cache", text)
	}
	return int64(n * float64(factor)), nil
}

// Read returns length bytes at offset of a piece, and whether it has it. name is a valid file's name.
func (c *Cache) Read(name string, offset, length int64) ([]byte, bool) {
	f, err := os.Open(c.path(name))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data := make([]byte, length)
	if _, err := f.ReadAt(data, offset); err != nil && (!errors.Is(err, io.EOF) || length > 0) {
		return nil, false
	}
	if info, err := f.Stat(); err == nil && time.Since(info.ModTime()) > touched {
		_ = os.Chtimes(f.Name(), time.Time{}, time.Now()) // the time of the last use; it may be another user's file
	}
	return data, true
}

// Add stores a piece, if it can, and makes room.
func (c *Cache) Add(ctx context.Context, name string, data []byte) {
	c.store(ctx, data, func() error { return c.add(name, data) })
}

// Write stores data at an offset of a piece, if it can, and makes room. The rest of the piece stays as it is. A crash, or a disk
// that is full, can leave a part of data. It tells whether all was stored.
func (c *Cache) Write(ctx context.Context, name string, offset int64, data []byte) bool {
	return c.store(ctx, data, func() error {
		f, err := os.OpenFile(c.path(name), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(data, offset)
		return errors.Join(err, f.Close())
	})
}

// store makes room for data and writes it, and tells whether it could.
func (c *Cache) store(ctx context.Context, data []byte, write func() error) bool {
	n := int64(len(data))
	if n > c.limit || ctx.Err() != nil {
		return false
	}
	err := os.MkdirAll(c.folder, 0o755)
	if err == nil && c.grow(n) {
		c.shrink(c.limit - c.limit/10 - n)
	}
	if err == nil {
		err = write()
	}
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			c.shrink(c.limit / 2) // others fill the disk as well: leave it some room
		}
		c.tell(err)
	}
	return err == nil
}

func (c *Cache) add(name string, data []byte) error {
	f, err := os.CreateTemp(c.folder, temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// share is the part of the limit that a user adds before it measures the folder again: so far over the limit can each go.
const share = 50

// grow counts what is added, and tells whether the folder must be measured.
func (c *Cache) grow(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added += n
	if c.ready && c.added < c.limit/share {
		return false
	}
	c.ready, c.added = true, 0
	return true
}

// Drop removes a piece that is damaged.
func (c *Cache) Drop(name string) { _ = os.Remove(c.path(name)) }

func (c *Cache) path(name string) string { return filepath.Join(c.folder, name+suffix) }

// tell logs what is wrong with the folder, once.
func (c *Cache) tell(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.told {
		c.told = true
		c.logger.Warn("the cache on disk cannot be written; data is fetched again when it is needed again", "folder", c.folder, "err", err)
	}
}

// shrink removes the pieces that were not used for longest until at most target bytes are left, and what dead processes have
// left behind. One user does it at a time; others read meanwhile.
func (c *Cache) shrink(target int64) {
	lock, err := os.OpenFile(filepath.Join(c.folder, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		c.tell(err)
		return
	}
	defer lock.Close() // which releases it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		c.tell(err)
		return
	}
	entries, err := os.ReadDir(c.folder)
	if err != nil {
		c.tell(err)
		return
	}
	var pieces []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
		case strings.HasPrefix(e.Name(), temporary) && time.Since(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(c.folder, e.Name()))
		case strings.HasSuffix(e.Name(), suffix):
			pieces = append(pieces, info)
			total += taken(info)
		}
	}
	slices.SortFunc(pieces, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, p := range pieces {
		if total <= target {
			break
		}
		if err := os.Remove(filepath.Join(c.folder, p.Name())); err == nil || errors.Is(err, fs.ErrNotExist) {
			total -= taken(p)
		}
	}
}

// taken are the bytes that a piece takes, without its holes.
func taken(info fs.FileInfo) int64 {
	const block = 512 // of Stat_t.Blocks, on all systems
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return min(info.Size(), int64(s.Blocks)*block)
	}
	return info.Size()
}
