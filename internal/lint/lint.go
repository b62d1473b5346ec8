package lint

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Finding is a place that breaks a rule.
type Finding struct {
	Path    string // relative to the tree, with slashes
	Line    int    // from 1; 0 for a file or folder as a whole
	Message string
}

// String returns the finding in the form path:line: message.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.Path + ": " + f.Message
	}
	return f.Path + ":" + strconv.Itoa(f.Line) + ": " + f.Message
}

// Rule is one thing that holds for the whole tree.
type Rule struct {
	Name    string
	Meaning string // one sentence
	check   func(*Tree) []Finding
}

// Check returns the places where a tree breaks the rule, in the order of files and lines.
func (r Rule) Check(t *Tree) []Finding {
	found := r.check(t)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	return found
}

// Rules lists the rules.
func Rules() []Rule {
	return []Rule{
		{"parse", "Every Go file can be parsed.", checkParse},
		{"imports", "Imports point one way, down the layers; from worker to coordinator only wire and job.", checkLayers},
		{"dependencies", "Each library of others is imported by the packages that are there for it.", checkDependencies},
		{"config", "Only mains import internal/config, cobra and pflag.", checkConfig},
		{"pure", "Pure packages have no network, no files and no clock.", checkPure},
		{"random", "internal/random is the only randomness.", checkRandom},
		{"print", "Only mains print, and only mains exit.", checkPrint},
		{"panic", "Only broken invariants inside kernels panic.", checkPanic},
		{"sleep", "Tests do not sleep.", checkSleep},
		{"skip", "Tests do not skip.", checkSkip},
		{"comment", "Every package has a comment.", checkComment},
		{"size", "Files have at most 500 lines.", checkSize},
		{"top", "The top level of the tree is as given.", checkTop},
	}
}

// Tree is the text of a repository.
type Tree struct {
	Module string   // its path, from go.mod
	Files  []*File  // the Go files, sorted by path
	Top    []string // names at the top level, sorted, without those that .gitignore names
}

// File is a Go file.
type File struct {
	Path    string    // relative to the tree, with slashes
	Package string    // path of its folder; "." for the top level
	AST     *ast.File // what could be parsed
	Err     error     // why not all could
	Lines   int

	fset *token.FileSet
}

// Test says whether the file is a test.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Main says whether the file belongs to a program.
func (f *File) Main() bool { return f.AST.Name.Name == "main" }

// at returns a finding at a node.
func (f *File) at(n ast.Node, format string, args ...any) Finding {
	return Finding{Path: f.Path, Line: f.fset.Position(n.Pos()).Line, Message: fmt.Sprintf(format, args...)}
}

// Load reads a tree. Folders named testdata or starting with '.' or '_', and those with a go.mod of their own, are not
// part of it. A folder that is not there is no error: rules say what must not be, not what must.
func Load(tree fs.FS) (*Tree, error) {
	t := &Tree{}
	module, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	t.Module = moduleName(module)
	if t.Top, err = top(tree); err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && outside(tree, name):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		t.Files = append(t.Files, parse(name, data))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	slices.SortFunc(t.Files, func(a, b *File) int { return cmp.Compare(a.Path, b.Path) })
	return t, nil
}

// outside says whether the Go tool, too, would leave a folder out.
func outside(tree fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(tree, path.Join(name, "go.mod"))
	return err == nil
}

func parse(name string, data []byte) *File {
	f := &File{Path: name, Package: path.Dir(name), Lines: bytes.Count(data, []byte("\n")), fset: token.NewFileSet()}
	f.AST, f.Err = parser.ParseFile(f.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if f.AST == nil {
		f.AST = &ast.File{Name: ast.NewIdent("")}
	}
	return f
}

func moduleName(data []byte) string {
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		if name, ok := strings.CutPrefix(s.Text(), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// top lists the names at the top level that git does not ignore. Only plain names in .gitignore are understood.
func top(tree fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return nil, err
	}
	ignored := map[string]bool{".git": true}
	if data, err := fs.ReadFile(tree, ".gitignore"); err == nil {
		for line := range strings.Lines(string(data)) {
			ignored[strings.Trim(strings.TrimSpace(line), "/")] = true
		}
	}
	var names []string
	for _, e := range entries {
		if !ignored[e.Name()] {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// within says whether a package is one of some patterns; a pattern that ends in /... stands for a folder and all below.
func within(pkg string, patterns ...string) bool {
	for _, p := range patterns {
		folder, all := strings.CutSuffix(p, "/...")
		if pkg == folder || all && strings.HasPrefix(pkg, folder+"/") {
			return true
		}
	}
	return false
}

func checkParse(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Err != nil {
			found = append(found, Finding{Path: f.Path, Message: "cannot be parsed: " + f.Err.Error()})
		}
	}
	return found
}
