package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"pupil/internal/lint"
)

var update = flag.Bool("update", false, "write the findings into testdata")

// TestRules runs each rule over a small tree that breaks it: testdata/RULE.txtar, whose files are the tree, and whose
// comment has the findings. A rule without such a file would be one that nobody has seen work.
func TestRules(t *testing.T) {
	for _, rule := range lint.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			path := filepath.Join("testdata", rule.Name+".txtar")
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := &strings.Builder{}
			for _, f := range rule.Check(treeOf(t, archive)) {
				fmt.Fprintln(got, f)
			}
			if *update {
				archive.Comment = []byte(got.String())
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.Len() == 0 {
				t.Error("no findings")
			}
			if got.String() != string(archive.Comment) {
				t.Errorf("got\n%s\nwant\n%s", got, archive.Comment)
			}
		})
	}
}

// TestCleanTree: a small tree that keeps all rules, which also shows what is not looked at.
func TestCleanTree(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/clean.txtar")
	if err != nil {
		t.Fatal(err)
	}
	tree := treeOf(t, archive)
	for _, rule := range lint.Rules() {
		for _, f := range rule.Check(tree) {
			t.Errorf("%s: %s", rule.Name, f)
		}
	}
}

// TestEmptyTree: no rule needs anything to be there.
func TestEmptyTree(t *testing.T) {
	tree := treeOf(t, &txtar.Archive{})
	for _, rule := range lint.Rules() {
		if found := rule.Check(tree); len(found) > 0 {
			t.Errorf("%s: %v", rule.Name, found)
		}
	}
	if _, err := lint.Load(fstest.MapFS{}); err == nil {
		t.Error("no go.mod: no error")
	}
}

// treeOf loads the files of an archive, with a go.mod when it has none. A line "LINES n" stands for n empty lines.
func treeOf(t *testing.T, archive *txtar.Archive) *lint.Tree {
	t.Helper()
	files := fstest.MapFS{"go.mod": {Data: []byte("module pupil\n\ngo 1.26\n")}}
	for _, f := range archive.Files {
		text := strings.ReplaceAll(string(f.Data), "LINES 500\n", strings.Repeat("\n", 500))
		files[f.Name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := lint.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func Example() {
	tree, err := lint.Load(fstest.MapFS{
		"go.mod": {Data: []byte("module pupil\n")},
		"augment/flip.go": {Data: []byte("// Package augment changes images.\npackage augment\n\nimport " +
			"\"math/rand/v2\"\n\nvar Flip = rand.Float64\n")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rule := range lint.Rules() {
		for _, finding := range rule.Check(tree) {
			fmt.Println(finding)
		}
	}
	// Output:
	// augment/flip.go:4: augment imports math/rand/v2; take internal/random, in tests with PurposeTest
}
