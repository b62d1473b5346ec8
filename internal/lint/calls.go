package lint

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pure are the packages whose results are functions of their arguments.
var pure = []string{
	"augment/...", "loss/...", "worker/optim", "coordinator/cluster", "coordinator/job", "coordinator/wire",
	"internal/random/...",
	"allreduce", "allreduce/internal/...", "allreduce/memlink",
}

// impure are imports that a pure package does not have.
var impure = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "io/ioutil", "log"}

// clock are the functions of package time that look at the clock.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}

// exception is a file that may break a rule, and why.
type exception struct{ path, reason string }

var impureFiles = []exception{
	{"coordinator/job/load.go", "Load reads the job file, and nothing else"},
	{"allreduce/loop.go", "drives the step machine, which is pure, by the clock"},
}

// randomness are the sources of randomness that are not ours.
var randomness = []string{"math/rand", "math/rand/v2", "crypto/rand", "hash/maphash"}

// No result may depend on these.
var randomFiles = []exception{
	{"allreduce/meshlink/server.go", "a private key and a secret"},
	{"coordinator/authority/authority.go", "private keys and secrets"},
	{"coordinator/control/credentials.go", "secrets that nobody can guess"},
	{"coordinator/control/inspect.go", "names of requests that nobody can guess"},
	{"coordinator/peer/handshake.go", "what makes each handshake another one"},
	{"internal/certificate/authority.go", "private keys and serial numbers"},
	{"internal/certificate/revoke.go", "signatures"},
	{"storage/dir/put.go", "names of temporary files, which writers on other machines must not share"},
	{"worker/agent/agent.go", "a worker's name, which no other has"},
}

// panickers are the packages whose callers check first, so that what is left to go wrong is a broken invariant.
var panickers = []string{"internal/kernel/...", "internal/random/..."}

var panicFiles = []exception{
	{"augment/image.go", "an image that Decode did not make whole is a bug of the caller's, as in a kernel"},
	{"augment/pipeline.go", "a buffer of another length than Len is a bug of the caller's, as in a kernel"},
}

// except takes the findings in excepted files away, and reports exceptions of files that do not need one any more.
func except(t *Tree, list []exception, found []Finding) []Finding {
	var left []Finding
	needed := map[string]bool{}
	for _, f := range found {
		if slices.ContainsFunc(list, func(e exception) bool { return e.path == f.Path }) {
			needed[f.Path] = true
		} else {
			left = append(left, f)
		}
	}
	for _, e := range list {
		there := slices.ContainsFunc(t.Files, func(f *File) bool { return f.Path == e.path })
		if there && !needed[e.path] {
			left = append(left, Finding{Path: e.path, Message: "keeps the rule now; remove its exception from " +
				"internal/lint/calls.go"})
		}
	}
	return left
}

// uses calls visit for each use of a name of another package, as in time.Now: its import path, and the name.
func (f *File) uses(visit func(n ast.Node, path, name string)) {
	names := map[string]string{}
	f.imports(func(spec *ast.ImportSpec, p string) {
		name := path.Base(p)
		if _, err := strconv.Atoi(strings.TrimPrefix(name, "v")); err == nil {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	})
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && names[x.Name] != "" {
				visit(s, names[x.Name], s.Sel.Name)
			}
		}
		return true
	})
}

func checkPure(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Test() || !within(f.Package, pure...) {
			continue
		}
		f.imports(func(spec *ast.ImportSpec, path string) {
			if slices.Contains(impure, path) {
				found = append(found, f.at(spec, "%s imports %s, and is a pure package", f.Package, path))
			}
		})
		f.uses(func(n ast.Node, path, name string) {
			if path == "time" && slices.Contains(clock, name) {
				found = append(found, f.at(n, "%s uses time.%s, and is a pure package; let the caller give the time", f.Package,
					name))
			}
		})
	}
	return except(t, impureFiles, found)
}

func checkRandom(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		f.imports(func(spec *ast.ImportSpec, path string) {
			if slices.Contains(randomness, path) {
				found = append(found, f.at(spec, "%s imports %s; take internal/random, in tests with PurposeTest", f.Package, path))
			}
		})
	}
	return except(t, randomFiles, found)
}

func checkPrint(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Main() || f.Test() {
			continue
		}
		f.uses(func(n ast.Node, path, name string) {
			switch {
			case path == "fmt" && strings.HasPrefix(name, "Print"):
				found = append(found, f.at(n, "%s calls fmt.%s; return it, or log with slog", f.Package, name))
			case path == "log":
				found = append(found, f.at(n, "%s uses log.%s; take a *slog.Logger", f.Package, name))
			case path == "os" && name == "Exit":
				found = append(found, f.at(n, "%s calls os.Exit; return an error", f.Package))
			case path == "log/slog" && slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Default", "SetDefault"},
				name):
				found = append(found, f.at(n, "%s uses slog.%s, the global logger; take a *slog.Logger", f.Package, name))
			}
		})
		f.builtins(func(n ast.Node, name string) {
			if name == "print" || name == "println" {
				found = append(found, f.at(n, "%s calls %s; return it, or log with slog", f.Package, name))
			}
		})
	}
	return found
}

// builtins calls visit for each call of a plain name, which for print and panic is the language's own.
func (f *File) builtins(visit func(n ast.Node, name string)) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if name, ok := call.Fun.(*ast.Ident); ok {
				visit(call, name.Name)
			}
		}
		return true
	})
}

func checkPanic(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if f.Test() || within(f.Package, panickers...) {
			continue
		}
		f.builtins(func(n ast.Node, name string) {
			if name == "panic" {
				found = append(found, f.at(n, "%s panics; return an error (an exception, with its reason, stands in "+
					"internal/lint/calls.go)", f.Package))
			}
		})
	}
	return except(t, panicFiles, found)
}

// checkSleep lets tests sleep inside of synctest.Test, where the clock is not the real one.
func checkSleep(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		if !f.Test() {
			continue
		}
		bubbles := f.bubbles()
		f.uses(func(n ast.Node, path, name string) {
			inside := slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= n.Pos() && n.End() <= b.End() })
			if path == "time" && name == "Sleep" && !inside {
				found = append(found, f.at(n, "a test sleeps; wait for what should happen, drive a clock, or use testing/synctest"))
			}
		})
	}
	return found
}

// bubbles are a file's calls of synctest.Test.
func (f *File) bubbles() []ast.Node {
	var calls []ast.Node
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "synctest" && s.Sel.Name == "Test" {
					calls = append(calls, call)
				}
			}
		}
		return true
	})
	return calls
}

// checkSkip looks for calls of Skip on what is declared as a *testing.T, *testing.B, *testing.F or testing.TB.
func checkSkip(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Files {
		tests := f.testingNames()
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && tests[x.Name] {
				found = append(found, f.at(n, "a test is skipped; what a test needs, `make test` gets"))
			}
			return true
		})
	}
	return found
}

// testingNames are the parameters of a file's functions that stand for a test.
func (f *File) testingNames() map[string]bool {
	names := map[string]bool{}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		kind := field.Type
		if star, ok := kind.(*ast.StarExpr); ok {
			kind = star.X
		}
		if s, ok := kind.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "testing" {
				for _, name := range field.Names {
					names[name.Name] = true
				}
			}
		}
		return true
	})
	return names
}
