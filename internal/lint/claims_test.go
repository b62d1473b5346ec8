package lint_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

// TestDocumentsNameWhatIsThere: every test that a document names as the proof of a claim is one of the tree's, and every job
// key in the table of docs/method.md is one of the job file's.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	const root = "../.."
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(data), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w*)`")
	found := 0
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(data), -1) {
			if found++; !tests[m[1]] {
				t.Errorf("%s names %s, and there is no such test", filepath.Base(page), m[1])
			}
		}
	}
	if found < 40 { // those of the table
		t.Errorf("the documents name %d tests", found)
	}

	data, err := os.ReadFile(filepath.Join(root, "docs", "method.md"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, f := range job.Fields() {
		keys = append(keys, f.Path)
	}
	claim := regexp.MustCompile(`(?m)^\| (\d) \|.*$`)
	key := regexp.MustCompile("`([a-z_]+(?:\\.[a-z_*]+)+)`")
	rows := claim.FindAllString(string(data), -1)
	if len(rows) != 8 {
		t.Errorf("docs/method.md has %d claims, want 8", len(rows))
	}
	for _, row := range rows {
		for _, m := range key.FindAllStringSubmatch(row, -1) {
			if !slices.ContainsFunc(keys, func(k string) bool { return k == m[1] || strings.HasPrefix(k, m[1]+".") }) {
				t.Errorf("docs/method.md names the key %s, which a job file does not have", m[1])
			}
		}
	}
}
