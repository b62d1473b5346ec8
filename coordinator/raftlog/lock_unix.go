//go:build unix

package raftlog

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lock takes a file's lock, or returns ErrLocked at once. The lock ends with the process, however that ends; the file
// stays, and names the process that had it last.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0) // an empty answer will do
		_ = f.Close()
		return nil, fmt.Errorf("%w (process %s); end that one, or use another folder",
			ErrLocked, strings.TrimSpace(string(holder[:n])))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(fmt.Sprintf("%d\n", os.Getpid())), 0)
	}
	if err != nil {
		_ = f.Close() // the first error says more
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f.Close, nil
}
