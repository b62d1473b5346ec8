package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// module is one that a program is linked with.
type module struct {
	path, version string
	licence       string            // SPDX identifiers, "A AND B"
	texts         map[string][]byte // by file name
}

// accepted are the licences under which a module may be linked into an Apache-2.0 program that is given away in binary form.
var accepted = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "FTL", "ISC", "MIT", "MIT-0", "MPL-2.0", "OFL-1.1", "Unlicense", "Zlib",
}

// chosen are modules whose licence file offers a choice, or is not the licence itself.
var chosen = map[string]string{
	"github.com/apache/arrow/go/arrow": "Apache-2.0", // the file also has the licences of Arrow's parts in other languages
	"github.com/golang/freetype":       "FTL",        // or GPL-2.0-or-later
}

// percent is how much of a licence file must be the text of a known licence; the rest is names, years and headings.
const percent = 60

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicen[cs]e|patents|notice)([-_.].*)?$`)

// linked returns the modules of both programs on the systems that archives are made for, in order.
func linked(ctx context.Context) ([]module, error) {
	found := map[string]module{}
	for _, arch := range []string{"amd64", "arm64"} {
		list := exec.CommandContext(ctx, "go", "list", "-deps", "-f",
			`{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}`, "./coordinator", "./worker")
		list.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.SplitN(strings.TrimSpace(line), " ", 3)
			if len(f) < 3 || found[f[0]].path != "" {
				continue
			}
			if found[f[0]], err = read(f[0], f[1], f[2]); err != nil {
				return nil, fmt.Errorf("%s %s: %w", f[0], f[1], err)
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b module) int { return cmp.Compare(a.path, b.path) }), nil
}

// read finds the licence of a module in its folder.
func read(path, version, folder string) (module, error) {
	m := module{path: path, version: version, texts: map[string][]byte{}}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return m, err
	}
	ids := map[string]bool{}
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return m, err
		}
		m.texts[e.Name()] = text
		if cover := licensecheck.Scan(text); cover.Percent >= percent {
			for _, match := range cover.Match {
				ids[match.ID] = true
			}
		}
	}
	delete(ids, "GooglePatentsFile") // an additional grant
	m.licence = cmp.Or(chosen[path], strings.Join(slices.Sorted(maps.Keys(ids)), " AND "))
	if m.licence == "" {
		return m, errors.New("no known licence was found; read it, and name it in internal/licences/modules.go if it is fit")
	}
	for id := range strings.SplitSeq(m.licence, " AND ") {
		if !slices.Contains(accepted, id) {
			return m, fmt.Errorf("its licence is %s, which is not among the accepted ones (%s)", id, strings.Join(accepted, ", "))
		}
	}
	return m, nil
}
