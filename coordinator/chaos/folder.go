package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder is the bucket of a site on this machine. For root it is a file system of its own in memory, which can be made
// read-only or left without room; others can take the right to write away from it.
type folder struct {
	path    string
	mounted bool
}

// mountPrefix begins the names of our mounts; the process follows.
const mountPrefix = "pupil-chaos-"

// openFolder makes the folder, and a file system in it when faults are to strike it. It must be closed, also after an error.
func openFolder(path string, struck bool) (*folder, error) {
	b := &folder{path: path}
	if err := os.MkdirAll(path, 0o755); err != nil || !struck || os.Geteuid() != 0 {
		return b, err
	}
	sweepMounts()
	_, err := execute("mount", "-t", "tmpfs", mountPrefix+strconv.Itoa(os.Getpid()), path)
	b.mounted = err == nil
	return b, err
}

// sweepMounts unmounts what runs have left behind whose process has ended without a goodbye.
func sweepMounts() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		words := strings.Fields(line)
		number, ours := strings.CutPrefix(words[0], mountPrefix)
		if pid, err := strconv.Atoi(number); ours && err == nil && !alive(pid) {
			_, _ = execute("umount", "-l", words[1]) // it harms nobody
		}
	}
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// close lets the file system go, with what is in it.
func (b *folder) close() error {
	if !b.mounted {
		return nil
	}
	b.mounted = false
	_, err := execute("umount", "-l", b.path)
	return err
}

// url implements bucket.
func (b *folder) url(name string) string { return "file://" + filepath.Join(b.path, name) }

// behind implements bucket.
func (b *folder) behind(name string) string { return b.url(name) }

// strike makes writes fail, until mend.
func (b *folder) strike(ctx context.Context, k Kind) error {
	switch {
	case k == Full && b.mounted:
		return again(ctx, b.fill)
	case k == Full:
		return errNeedsRoot
	case b.mounted:
		return again(ctx, func() error { return b.remount("ro") }) // refused while a file is being written
	}
	return b.allow(0o555)
}

var errNeedsRoot = errors.New("a file system can be filled by root only; leave full out, or run as root")

// mend ends what strike has begun.
func (b *folder) mend(k Kind) error {
	switch {
	case k == Full:
		return b.remount("size=50%")
	case b.mounted:
		return b.remount("rw")
	}
	return b.allow(0o755)
}

func (b *folder) remount(options string) error {
	_, err := execute("mount", "-o", "remount,"+options, b.path)
	return err
}

// fill leaves the file system no more room than what is used.
func (b *folder) fill() error {
	out, err := execute("df", "-Pk", b.path)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	words := strings.Fields(lines[len(lines)-1])
	if len(words) < 3 {
		return fmt.Errorf("df answers %q", out)
	}
	used, err := strconv.Atoi(words[2])
	if err != nil {
		return fmt.Errorf("df answers %q: %w", out, err)
	}
	return b.remount(fmt.Sprintf("size=%dk", max(used, 4)))
}

// allow gives all folders of the bucket a mode.
func (b *folder) allow(mode fs.FileMode) error {
	return filepath.WalkDir(b.path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.Chmod(path, mode); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// again tries something for two seconds.
func again(ctx context.Context, try func() error) error {
	for end := time.Now().Add(2 * time.Second); ; {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// execute runs a program and returns what it has written.
func execute(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// canStrikeFolder says whether this process may: root needs to mount file systems, since it writes where nobody may, and others
// can take their own right away, but leave no file system full.
func canStrikeFolder(k Kind) bool {
	if os.Geteuid() != 0 {
		return k == Fail
	}
	path, err := os.MkdirTemp("", mountPrefix)
	if err != nil {
		return false
	}
	defer os.Remove(path)
	b, err := openFolder(path, true)
	return err == nil && b.close() == nil
}
