package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/pflag"

	"pupil/storage/diskcache"
)

// teacherCacheFlags say where a worker keeps what teachers make of their views.
type teacherCacheFlags struct{ folder, size string }

func (c *teacherCacheFlags) add(f *pflag.FlagSet) {
	f.StringVar(&c.folder, "teacher-cache", "", "folder that keeps the teacher's outputs for other runs with the same seed, data and views\nof the teacher; several workers may share it (default: none)")
	f.StringVar(&c.size, "teacher-cache-size", "10GB", "limit of --teacher-cache, as 500MB or 20GB; what was not used for longest goes first")
}

// open returns the cache, or nil when none is asked for. A folder that cannot be made is an error.
func (c *teacherCacheFlags) open(logger *slog.Logger) (*diskcache.Cache, error) {
	limit, err := diskcache.ParseSize(c.size)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--teacher-cache-size is %q; give a size as 500MB or 20GB", c.size)
	case c.folder == "":
		return nil, nil
	case limit == 0:
		return nil, errors.New("--teacher-cache-size is 0; leave --teacher-cache out for no cache")
	}
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return nil, fmt.Errorf("--teacher-cache: %w; give a folder that can be written", err)
	}
	return diskcache.New(c.folder, limit, logger), nil
}
