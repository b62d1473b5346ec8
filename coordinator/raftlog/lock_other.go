//go:build !unix

package raftlog

import (
	"errors"
	"fmt"
)

// lock refuses: two coordinators in one folder would destroy it, and only flock is sure to end with its process.
func lock(path string) (unlock func() error, err error) {
	return nil, fmt.Errorf("lock %s: %w; a coordinator runs on Linux and other Unix systems", path, errors.ErrUnsupported)
}
