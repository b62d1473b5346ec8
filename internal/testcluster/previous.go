package testcluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Previous returns binaries of the newest release before this tree: of the newest tag v* below it, or of the commit that
// PUPIL_PREVIOUS names, built from what is committed there. As long as there is no release it is this tree under another version.
func Previous(t testing.TB) Binaries {
	t.Helper()
	commit := os.Getenv("PUPIL_PREVIOUS")
	if commit == "" {
		tag, err := git("describe", "--tags", "--abbrev=0", "--match", "v*")
		if err != nil {
			return BuildAs(t, "v0.0.0-before")
		}
		commit = tag
	}
	tree := t.TempDir()
	archive := exec.Command("git", "archive", "-o", filepath.Join(tree, "tree.tar"), commit)
	archive.Dir = Root()
	if out, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("the tree of %s: %v\n%s", commit, err, out)
	}
	if out, err := exec.Command("tar", "-xf", filepath.Join(tree, "tree.tar"), "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("the tree of %s: %v\n%s", commit, err, out)
	}
	b, err := buildFrom(tree, t.TempDir(), commit)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = Root()
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// Version is what the worker says of its build.
func (b Binaries) Version(t testing.TB) (version string, numerics int) {
	t.Helper()
	out, err := exec.Command(b.Worker, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`^worker (\S+) \(numerics (\d+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("the worker says %q of its version", out)
	}
	if _, err := fmt.Sscan(string(m[2]), &numerics); err != nil {
		t.Fatal(err)
	}
	return string(m[1]), numerics
}
