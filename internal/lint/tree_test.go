package lint_test

import (
	"os"
	"testing"

	"pupil/internal/lint"
)

// TestTree holds the rules for this repository.
func TestTree(t *testing.T) {
	tree, err := lint.Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 20 {
		t.Fatalf("only %d Go files were found", len(tree.Files))
	}
	for _, rule := range lint.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, f := range rule.Check(tree) {
				t.Error(f)
			}
			if t.Failed() {
				t.Logf("the rule: %s", rule.Meaning)
			}
		})
	}
}
