//go:build e2e

package testcluster_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pupil/internal/testcluster"
)

// digestInPython is what the script of docs/storage.md prints for a student's folder.
func digestInPython(t *testing.T, folder string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testcluster.Root(), "docs", "storage.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```python\n(.*?)^```$").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/storage.md has no script")
	}
	cmd := exec.CommandContext(t.Context(), script(t, "python"), "-c", string(block[1]))
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
