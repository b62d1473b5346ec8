package lint

import (
	"go/ast"
	"slices"
	"strings"
)

// maxLines bounds a file; one idea rarely needs so many.
const maxLines = 500

// topLevel are the names that may stand at the top level. Others that start with '.' are tools' own.
var topLevel = []string{
	"coordinator", "worker", "allreduce", "storage", "augment", "loss", "deploy", "internal", "docs",
	"go.mod", "go.sum", "Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE",
}

func checkComment(t *Tree) []Finding {
	first, commented := map[string]*File{}, map[string]bool{}
	var packages []string
	for _, f := range t.Files {
		if f.Test() || f.Package == "." { // the top level has no packages; the rule top says so
			continue
		}
		if first[f.Package] == nil {
			first[f.Package] = f
			packages = append(packages, f.Package)
		}
		commented[f.Package] = commented[f.Package] || hasComment(f)
	}
	var found []Finding
	for _, pkg := range packages {
		if f := first[pkg]; !commented[pkg] && f.AST.Name.Name != "" {
			want := "Package " + f.AST.Name.Name
			if f.Main() {
				want = "a sentence on the program"
			}
			found = append(found, f.at(f.AST.Name, "package %s has no comment; start one with %q", pkg, want))
		}
	}
	return found
}

func hasComment(f *File) bool {
	return f.AST.Doc != nil && (f.Main() || strings.HasPrefix(f.AST.Doc.Text(), "Package "+f.AST.Name.Name))
}

func checkSize(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Lines > maxLines && !ast.IsGenerated(f.AST) {
			found = append(found, Finding{
				Path: f.Path, Line: maxLines + 1, Message: "the file goes on past 500 lines; split it by idea",
			})
		}
	}
	return found
}

func checkTop(t *Tree) []Finding {
	var found []Finding
	for _, name := range t.Top {
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			found = append(found, Finding{
				Path: name, Message: "does not belong to the top level, which has " + strings.Join(topLevel, ", "),
			})
		}
	}
	return found
}
