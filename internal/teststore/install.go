package teststore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// program is a store that can be built by go install.
type program struct{ name, module, version string }

var (
	versity = program{"versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"}
	minio   = program{"minio", "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c"}
)

// install returns the path of a program, which it builds when it is missing. Other processes that need it wait.
func (p program) install() (_ string, err error) {
	folder, err := cache()
	if err != nil {
		return "", err
	}
	folder = filepath.Join(folder, "tools", p.name+"-"+p.version)
	binary := filepath.Join(folder, p.name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(folder, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil // another process has built it
	}
	made := filepath.Join(folder, "made") // the binary appears whole
	cmd := exec.Command("nice", "-n", "10", "go", "install", "-ldflags", "-s -w", p.module+"@"+p.version)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+made, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s %s: %w\n%s", p.name, p.version, err, out)
	}
	if err := os.Rename(filepath.Join(made, p.name), binary); err != nil {
		return "", err
	}
	return binary, os.RemoveAll(made)
}

func cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(base, "pupil"), nil
}
