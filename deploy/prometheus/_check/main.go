// Check reads alert rules and a Grafana dashboard with Prometheus' own parsers, and says what is wrong with them. It is a
// module of its own, since Prometheus is a large dependency.
//
//	go run . RULES.yaml DASHBOARD.json [SCRAPES]
//
// With a folder of scrapes it evaluates the dashboard's queries with Prometheus' engine on these: each must show something.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: check RULES.yaml DASHBOARD.json [SCRAPES]")
		os.Exit(2)
	}
	var told *scrapes
	var err error
	if len(os.Args) == 4 {
		told, err = readScrapes(os.Args[3])
	}
	if err = errors.Join(err, rules(os.Args[1]), dashboard(os.Args[2], told)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func rules(file string) error {
	groups, errs := rulefmt.ParseFile(file, false, model.LegacyValidation, parser.NewParser(parser.Options{}),
		slog.New(slog.NewTextHandler(io.Discard, nil)))
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	n := 0
	for _, g := range groups.Groups {
		n += len(g.Rules)
	}
	if n == 0 {
		return fmt.Errorf("%s has no rules", file)
	}
	return nil
}

// dashboard parses all queries, and evaluates those of panels unless told is nil.
func dashboard(file string, told *scrapes) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	p, n := parser.NewParser(parser.Options{}), 0
	var bad error
	check := func(where, expr string) {
		n++
		if _, err := p.ParseExpr(expr); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %s: %s: %w", file, where, expr, err))
		}
	}
	engine := newEngine()
	for _, panel := range d.Panels {
		for _, t := range panel.Targets {
			check(panel.Title, t.Expr)
			if told == nil || slices.Contains(quiet, panel.Title) {
				continue
			}
			if err := told.evaluate(engine, t.Expr); err != nil {
				bad = errors.Join(bad, fmt.Errorf("%s: %s: %s: %w", file, panel.Title, t.Expr, err))
			}
		}
	}
	for _, a := range d.Annotations.List {
		check(a.Name, a.Expr)
	}
	if n == 0 {
		return fmt.Errorf("%s has no queries", file)
	}
	return bad
}
