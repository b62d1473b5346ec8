package main

import (
	"fmt"
	"strings"
)

// render is the page docs/licences.md.
func render(modules []module) string {
	var b strings.Builder
	b.WriteString("# Licences\n\nPupil is Apache-2.0. Its programs are linked with these modules, pinned by `go.mod` and `go.sum`; `make licences`\n" +
		"writes this page, and `make check` fails for a licence that is not accepted. Archives of `make dist` have the texts, and\n" +
		"`make sbom` writes bills of materials (CycloneDX).\n\n| module | version | licence |\n| --- | --- | --- |\n")
	for _, m := range modules {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.path, m.version, m.licence)
	}
	b.WriteString("\nThe coordinators' page has uPlot (MIT), with its text beside it in `coordinator/dash/page`. The Go standard library is BSD-3-Clause.\n")
	return b.String()
}
