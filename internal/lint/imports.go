package lint

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// layers are the packages of the tree from the ground up. A package imports packages of lower layers, and of its own
// entry. The first entry that fits counts. Tests may import what they like, but for what other rules say.
var layers = [][]string{
	{"internal/version"},
	{"internal/random/...", "internal/metrics", "internal/tracing", "internal/diagnose", "internal/config/nearest", "internal/natsserver", "internal/hostport", "internal/freeport", "internal/certificate", "internal/contest"},
	{"internal/kernel/...", "internal/config", "coordinator/job", "storage"},
	{
		"coordinator/wire", "coordinator/authority", "coordinator/peer/...", "storage/dir", "storage/diskcache", "storage/mem", "storage/s3",
		"storage/safetensors", "storage/storagetest",
	},
	{
		"internal/teststore", "storage/location", "storage/checkpoint",
		"allreduce/...", "augment/...", "loss/...", "worker/nn/...", "worker/optim", "coordinator/cluster",
	},
	{"storage/dataset"},
	{"worker/feed", "worker/inspect", "coordinator/audit"},
	{"worker/train", "worker/teachercache", "worker/export", "worker/agent", "coordinator/raftlog", "coordinator/api", "coordinator/history"},
	{"worker/setup", "coordinator/control"},
	{"coordinator/view"},
	{"coordinator/dash"},
	{"worker/student/...", "coordinator/local", "coordinator/serve", "coordinator/chaos"},
	{"worker/carry"},
	{"internal/testcluster"},
	{"internal/bench", "internal/ringbench"},
	{"internal/licences", "internal/lint", "internal/sweep", "internal/usebench", "coordinator", "worker", "deploy/..."},
}

// levelOf returns the layer of a package, and the entry that it fell under.
func levelOf(pkg string) (level int, entry string) {
	for level, entries := range layers {
		for _, e := range entries {
			if within(pkg, e) {
				return level, e
			}
		}
	}
	return -1, ""
}

// imports calls visit for each import of a file.
func (f *File) imports(visit func(spec *ast.ImportSpec, path string)) {
	for _, spec := range f.AST.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			visit(spec, path)
		}
	}
}

// own cuts the module's path from an import of the tree itself.
func (t *Tree) own(path string) (pkg string, ok bool) {
	if path == t.Module {
		return ".", true
	}
	return strings.CutPrefix(path, t.Module+"/")
}

func checkLayers(t *Tree) []Finding {
	var found []Finding
	unknown := map[string]bool{}
	for _, f := range t.Files {
		if f.Test() || f.Package == "." { // the top level has no packages; the rule top says so
			continue
		}
		level, entry := levelOf(f.Package)
		if level < 0 {
			if !unknown[f.Package] {
				found = append(found, f.at(f.AST.Name, "package %s is in no layer; give it one in internal/lint/imports.go",
					f.Package))
			}
			unknown[f.Package] = true
			continue
		}
		f.imports(func(spec *ast.ImportSpec, path string) {
			pkg, ok := t.own(path)
			if !ok {
				return
			}
			if message := mayImport(f, pkg, level, entry); message != "" {
				found = append(found, f.at(spec, "%s imports %s: %s", f.Package, pkg, message))
			}
		})
	}
	return found
}

// mayImport says what is wrong with an import of the tree's own package, or "".
func mayImport(f *File, pkg string, level int, entry string) string {
	below, other := levelOf(pkg)
	switch {
	case below < 0:
		return "" // the finding is at the package itself
	case within(f.Package, "worker/...") && within(pkg, "coordinator/...") && !within(pkg, "coordinator/wire",
		"coordinator/job"):
		return "from worker to coordinator only wire and job are imported"
	case within(f.Package, "coordinator/...") && within(pkg, "worker/..."):
		return "the coordinator imports nothing of the worker"
	case below > level:
		return "imports point down, and it is in a higher layer"
	case below == level && other != entry:
		return "imports point down, and it is in the same layer"
	}
	return ""
}

// dependencies are the libraries of others, and the packages that are there for them.
var dependencies = []struct {
	library string
	only    []string
}{
	{"github.com/spf13/viper", []string{"internal/config"}},
	{"github.com/nats-io", []string{
		"allreduce/natslink", "allreduce/meshlink", "coordinator/control", "coordinator/chaos", "worker/agent", "internal/natsserver",
		"internal/testcluster", "internal/ringbench",
	}},
	{"github.com/hashicorp", []string{"coordinator/raftlog"}},
	{"github.com/minio", []string{"storage/s3", "internal/teststore"}},
	{"github.com/vbauerster/mpb", []string{"coordinator/...", "worker"}},
	{"github.com/jedib0t/go-pretty", []string{"coordinator/...", "worker"}},
	{"go.yaml.in/yaml", []string{"coordinator/job", "coordinator/chaos"}},
	{"golang.org/x/image", []string{"augment/..."}},
	{"golang.org/x/term", []string{"coordinator/...", "worker"}},
	{"golang.org/x/tools", []string{"internal/lint"}},
	{"github.com/prometheus", []string{"internal/metrics", "worker/student/serve"}},
	{"go.opentelemetry.io", []string{"internal/tracing"}},
	{"github.com/getkin", nil},
	{"google.golang.org/protobuf", []string{"worker/export"}},
	{"gonum.org/v1/plot", []string{"worker/student/report"}},
	{"gonum.org/v1/gonum", []string{"loss", "worker/student"}},
	{"gorgonia.org", []string{"worker/nn"}},
	{"github.com/chewxy", []string{"worker/nn"}},
}

func checkDependencies(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Package == "." {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, path string) {
			for _, d := range dependencies {
				// Tests of other packages may speak to a library's real server, but viper stays where it is.
				if !within(path, d.library+"/...") || f.Test() && d.library != "github.com/spf13/viper" {
					continue
				}
				if !within(f.Package, d.only...) {
					found = append(found, f.at(spec, "%s imports %s, which is for %s alone", f.Package, path, strings.Join(d.only,
						", ")))
				}
			}
		})
	}
	return found
}

func checkConfig(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Main() || f.Package == "." || f.Package == "internal/config" {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, path string) {
			pkg, _ := t.own(path)
			if pkg == "internal/config" || slices.Contains([]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "flag"},
				path) {
				if path == "flag" && f.Test() {
					return // -update
				}
				found = append(found, f.at(spec, "%s imports %s, which is for mains alone", f.Package, path))
			}
		})
	}
	return found
}
