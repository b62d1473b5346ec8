// Package version says which build this is.
package version

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
)

// version is set by the linker (see the Makefile).
var version string

// String is the build's version: what the Makefile found in git, or what the module system knows of it.
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// numerics is raised with each change after which the same job, on the same kernels, gives other bits, or after which
// workers do not understand each other's sums or states. The linker sets it in tests.
var numerics = "2"

// Numerics says which builds can carry a run together, and give the same result: those with the same number. All other
// differences between builds do not matter to a result.
func Numerics() int {
	n, err := strconv.Atoi(numerics)
	if err != nil {
		return 0
	}
	return n
}

// Line is what --version prints after the command's name.
func Line() string {
	return fmt.Sprintf("%s (numerics %d, %s, %s/%s)", String(), Numerics(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// Executable is the SHA-256 of the program that runs, in hexadecimal: what it computes may differ from what any other
// program does, also from one whose version has the same name.
var Executable = sync.OnceValues(func() (string, error) {
	f, err := os.Open("/proc/self/exe") // the file that was started, even when another has taken its place
	if errors.Is(err, fs.ErrNotExist) {
		var path string
		if path, err = os.Executable(); err == nil {
			f, err = os.Open(path)
		}
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})
