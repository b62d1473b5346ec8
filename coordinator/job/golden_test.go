package job_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

var update = flag.Bool("update", false, "write what the tests find into their golden files and docs/job.md")

// golden compares text with a file, or writes it there with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("%s differs from line %d on; if that is right: go test ./coordinator/job -update\ngot:\n%s\nwant:\n%s",
				path, i+1, strings.Join(a[min(i, len(a)):], "\n"), strings.Join(b[min(i, len(b)):], "\n"))
			return
		}
	}
}

// overridesIn returns the overrides in lines of the form "#--set key=value".
func overridesIn(data []byte) []string {
	var overrides []string
	for line := range strings.Lines(string(data)) {
		if o, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "#--set "); ok {
			overrides = append(overrides, o)
		}
	}
	return overrides
}

// TestFaults holds the text of every fault: testdata/faults/X.yaml is a broken job, X.txt what is said about it.
func TestFaults(t *testing.T) {
	paths, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := job.Decode(data, "job.yaml", overridesIn(data))
			if err == nil {
				t.Fatalf("no error; %+v", s)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}
