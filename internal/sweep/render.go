package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The tables stand between these lines of the page.
const (
	beginMarker = "<!-- sweep:begin -->"
	endMarker   = "<!-- sweep:end -->"
)

// renderPage writes the tables of the results into a page.
func renderPage(page, from string) error {
	all, err := load(from)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(beginMarker))
	_, after, closed := bytes.Cut(rest, []byte(endMarker))
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %s and %s, between which the tables belong", page, beginMarker, endMarker)
	}
	text := fmt.Sprintf("%s%s\n%s\n%s%s", before, beginMarker, render(all), endMarker, after)
	part := page + ".part"
	if err := os.WriteFile(part, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(part, page)
}

// spread is the mean of values and half of their range.
type spread struct{ mean, half float64 }

func spreadOf(rows []result, value func(result) float64) spread {
	least, most, sum := math.Inf(1), math.Inf(-1), 0.0
	for _, r := range rows {
		v := value(r)
		least, most, sum = min(least, v), max(most, v), sum+v
	}
	return spread{sum / float64(len(rows)), (most - least) / 2}
}

// percent writes accuracies.
func (s spread) percent() string { return fmt.Sprintf("%.2f ± %.2f", 100*s.mean, 100*s.half) }

// row is a setting with its results.
type row struct {
	setting
	results    []result
	probe, knn spread
}

// render makes a table for each source, best first by the linear probe.
func render(all results) string {
	var rows []row
	for _, s := range settings {
		if found := all.of(s.name); len(found) > 0 {
			rows = append(rows, row{
				s, found, spreadOf(found, func(r result) float64 { return *r.Probe.Student }),
				spreadOf(found, func(r result) float64 { return *r.KNN.Student }),
			})
		}
	}
	if len(rows) == 0 {
		return "\nThere are no results yet.\n"
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		switch {
		case a.probe.mean > b.probe.mean:
			return -1
		case a.probe.mean < b.probe.mean:
			return 1
		}
		return 0
	})
	var b strings.Builder
	b.WriteString("\n" + bounds(rows))
	for _, part := range sources {
		table(&b, rows, part)
	}
	return b.String()
}

// bounds are the accuracies between which those of the students are to be seen.
func bounds(rows []row) string {
	steps := map[int]bool{}
	for _, r := range rows {
		for _, r := range r.results {
			steps[r.Steps] = true
		}
	}
	out := fmt.Sprintf("Steps of each run: %s.", join(slices.Sorted(maps.Keys(steps))))
	for _, name := range []struct {
		name string
		of   func(scores) *float64
	}{
		{"Teacher", func(s scores) *float64 { return s.Teacher }},
		{"Untrained student", func(s scores) *float64 { return s.Untrained }},
	} {
		var known []result
		for _, r := range rows {
			for _, r := range r.results {
				if name.of(r.Probe) != nil && name.of(r.KNN) != nil {
					known = append(known, r)
				}
			}
		}
		if len(known) > 0 {
			out += fmt.Sprintf(" %s: linear probe %s, k-NN %s.", name.name,
				spreadOf(known, func(r result) float64 { return *name.of(r.Probe) }).percent(),
				spreadOf(known, func(r result) float64 { return *name.of(r.KNN) }).percent())
		}
	}
	return out + "\n"
}

func join(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}

// best is the row with the highest mean of the settings of a kind that a source is compared with, or nil.
func best(rows []row, of source, k kind) *row {
	for i, r := range rows { // sorted
		if r.kind == k && (r.source == of || of == both && (r.source == logits || r.source == pooled)) {
			return &rows[i]
		}
	}
	return nil
}

// margin is by how many percentage points a row's linear probe is above another's: the mean over the seeds that both have,
// and the lowest and the highest of them. A seed gives both the same images, views and initial weights.
func margin(r row, to *row) string {
	if to == nil {
		return "–"
	}
	least, most, sum, n := math.Inf(1), math.Inf(-1), 0.0, 0
	for _, a := range r.results {
		for _, b := range to.results {
			if a.Seed == b.Seed {
				d := 100 * (*a.Probe.Student - *b.Probe.Student)
				least, most, sum, n = min(least, d), max(most, d), sum+d, n+1
			}
		}
	}
	switch {
	case n == 0:
		return "–"
	case n == 1 || r.name == to.name:
		return fmt.Sprintf("%+.2f", sum/float64(n))
	}
	return fmt.Sprintf("%+.2f (%+.2f to %+.2f)", sum/float64(n), least, most)
}

func table(b *strings.Builder, rows []row, of source) {
	var part []row
	for _, r := range rows {
		if r.source == of {
			part = append(part, r)
		}
	}
	if len(part) == 0 {
		return
	}
	bestL2, bestKL := best(rows, of, l2), best(rows, of, kl)
	fmt.Fprintf(b, "\n%s:\n\n", of)
	b.WriteString("| setting | seeds | linear probe, % | to best L2 | to best KL | k-NN, % | I(S;T), nat | used classes |" +
		"\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range part {
		information := spreadOf(r.results, func(r result) float64 { return r.MutualInformation })
		used := spreadOf(r.results, func(r result) float64 { return float64(r.UsedClasses) })
		fmt.Fprintf(b, "| `%s` | %d | %s | %s | %s | %s | %.3f | %.1f |\n", r.name, len(r.results), r.probe.percent(),
			margin(r, bestL2), margin(r, bestKL), r.knn.percent(), information.mean, used.mean)
	}
}
