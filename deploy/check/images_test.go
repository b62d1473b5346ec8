package check_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// TestContainerfile wants, of each program, an image of that program alone, for a user without rights.
func TestContainerfile(t *testing.T) {
	parsed, err := parser.Parse(bytes.NewReader(read(t, "../Containerfile")))
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Errorf("warnings: %+v", parsed.Warnings)
	}
	said := linter.New(&linter.Config{Warn: func(rule, description, _, message string, _ []parser.Range) {
		t.Errorf("%s: %s: %s", rule, message, description)
	}})
	stages, _, err := instructions.Parse(parsed.AST, said)
	if err != nil {
		t.Fatal(err)
	}
	programs := []string{"coordinator", "worker"}
	var found []string
	for _, s := range stages {
		if !slices.Contains(programs, s.Name) {
			continue
		}
		found = append(found, s.Name)
		if s.BaseName != "scratch" {
			t.Errorf("%s begins with %s", s.Name, s.BaseName)
		}
		user, entry, has := "", "", false
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.UserCommand:
				user = c.User
			case *instructions.EntrypointCommand:
				entry = strings.Join(c.CmdLine, " ")
			case *instructions.CopyCommand:
				has = has || slices.Equal(c.SourcePaths, []string{"/out/" + s.Name}) && c.DestPath == "/"+s.Name
			}
		}
		if user != "65532:65532" || entry != "/"+s.Name || !has {
			t.Errorf("%s: user %q, entry point %q, program copied: %v", s.Name, user, entry, has)
		}
	}
	if !slices.Equal(found, programs) {
		t.Errorf("images: %s", found)
	}
}

// TestContextIsEnough builds the programs from what the images are built from: the files of the tree without those that the
// Containerfile's list of ignored ones names.
func TestContextIsEnough(t *testing.T) {
	var ignored []string
	for line := range strings.Lines(string(read(t, "../Containerfile.dockerignore"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			ignored = append(ignored, line)
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	context := t.TempDir()
	for _, e := range entries {
		if slices.Contains(ignored, e.Name()) {
			continue
		}
		from, to := filepath.Join(root, e.Name()), filepath.Join(context, e.Name())
		if e.IsDir() {
			err = os.CopyFS(to, os.DirFS(from))
		} else {
			err = os.WriteFile(to, read(t, from), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	list := exec.Command("go", "list", "-deps", "./coordinator", "./worker") // it also wants the embedded files
	list.Dir = context
	if out, err := list.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
