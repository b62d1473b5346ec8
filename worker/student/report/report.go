// Package report shows what networks reach on the same images, side by side: as text, and as one HTML page with plots that
// needs nothing else to be looked at.
//
//	r := report.Report{Title: "student and teacher", Classes: names, Networks: networks}
//	err := r.HTML(f)
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"pupil/worker/nn"
	"pupil/worker/student/measure"
)

// Report is a comparison.
type Report struct {
	Title    string    `json:"title"`
	Train    int       `json:"train"` // images that classifiers learn from
	Test     int       `json:"test"`  // images that are judged
	Skipped  int       `json:"skipped"`
	Classes  []string  `json:"classes"`
	Networks []Network `json:"networks"`
}

// Network is one that is compared.
type Network struct {
	Role         string            `json:"role"` // student, teacher
	From         string            `json:"from"` // folder or URL
	Config       nn.Config         `json:"config"`
	Features     int               `json:"features"`
	Parameters   int               `json:"parameters"`
	MultiplyAdds int64             `json:"multiply_adds"` // of one image
	Measures     *measure.Measures `json:"measures"`
}

// Describe fills in what follows from the network itself.
func Describe(role, from string, n *nn.Network) Network {
	d := Network{Role: role, From: from, Config: n.Config(), Features: n.Features()}
	for _, l := range n.Layers() {
		d.Parameters += l.Parameters
		d.MultiplyAdds += l.MultiplyAdds
	}
	return d
}

// line is a row of the table: a figure of each network.
type line struct {
	Name   string
	Values []string
}

func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }

// Lines is the table. What not every network has is left out of some.
func (r *Report) lines() []line {
	var out []line
	add := func(name string, value func(n Network) string) {
		l := line{Name: name}
		for _, n := range r.Networks {
			l.Values = append(l.Values, value(n))
		}
		if slices.ContainsFunc(l.Values, func(s string) bool { return s != "" }) {
			out = append(out, l)
		}
	}
	add("architecture", func(n Network) string { return fmt.Sprintf("%s, width %g", n.Config.Architecture, n.Config.Width) })
	add("input", func(n Network) string {
		return fmt.Sprintf("%d x %d x %d", n.Config.Size, n.Config.Size, n.Config.Channels)
	})
	add("features", func(n Network) string { return fmt.Sprint(n.Features) })
	add("parameters", func(n Network) string { return fmt.Sprint(n.Parameters) })
	add("million multiply-adds", func(n Network) string { return fmt.Sprintf("%.1f", float64(n.MultiplyAdds)/1e6) })
	for i := range r.most() {
		add(r.neighbours(i), func(n Network) string {
			if i >= len(n.Measures.KNN) {
				return ""
			}
			return percent(n.Measures.KNN[i].Top1) + ", " + percent(n.Measures.KNN[i].Top5)
		})
	}
	add("linear probe, top-1, top-5", func(n Network) string { return percent(n.Measures.Probe.Top1) + ", " + percent(n.Measures.Probe.Top5) })
	add("own classifier, top-1, top-5", func(n Network) string {
		if n.Measures.Own == nil {
			return ""
		}
		return percent(n.Measures.Own.Top1) + ", " + percent(n.Measures.Own.Top5)
	})
	add("retrieval, mean average precision", func(n Network) string { return percent(n.Measures.Retrieval) })
	add("verification, accepted at "+r.rate(), func(n Network) string { return percent(n.Measures.Verification.Accepted) })
	add("verification, equal error rate", func(n Network) string { return percent(n.Measures.Verification.EqualError) })
	add("clusters that match their class", func(n Network) string { return percent(n.Measures.Clusters.Accuracy) })
	return append(out, r.corrupted()...)
}

// corrupted are the means over the strengths of each corruption.
func (r *Report) corrupted() (out []line) {
	for _, kind := range r.kinds() {
		l := line{Name: "linear probe under " + kind + ", mean"}
		for _, n := range r.Networks {
			sum, count := 0.0, 0
			for _, c := range n.Measures.Robustness {
				if c.Kind == kind {
					sum += c.Probe
					count++
				}
			}
			l.Values = append(l.Values, percent(sum/float64(max(1, count))))
		}
		out = append(out, l)
	}
	return out
}

// kinds are the corruptions that were measured, in order.
func (r *Report) kinds() (kinds []string) {
	for _, n := range r.Networks {
		for _, c := range n.Measures.Robustness {
			if !slices.Contains(kinds, c.Kind) {
				kinds = append(kinds, c.Kind)
			}
		}
	}
	return kinds
}

func (r *Report) most() (n int) {
	for _, net := range r.Networks {
		n = max(n, len(net.Measures.KNN))
	}
	return n
}

func (r *Report) neighbours(i int) string {
	for _, n := range r.Networks {
		if i < len(n.Measures.KNN) {
			return fmt.Sprintf("k-NN with k = %d, top-1, top-5", n.Measures.KNN[i].K)
		}
	}
	return ""
}

// rate is the false accept rate of the verification.
func (r *Report) rate() string {
	for _, n := range r.Networks {
		return fmt.Sprintf("%g", n.Measures.Verification.FalseAccept)
	}
	return ""
}

// Text writes the table.
func (r *Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d test images of %d classes, %d to learn from", r.Test, len(r.Classes), r.Train)
	for _, n := range r.Networks {
		fmt.Fprint(t, "\t"+n.Role)
	}
	fmt.Fprintln(t)
	for _, l := range r.lines() {
		fmt.Fprintln(t, l.Name+"\t"+strings.Join(l.Values, "\t"))
	}
	return t.Flush()
}

//go:embed report.html
var page string

var parsed = template.Must(template.New("report").Parse(page))

// HTML writes the page: the table, plots as SVG, and the confusion matrices.
func (r *Report) HTML(w io.Writer) error {
	charts, err := r.charts()
	if err != nil {
		return err
	}
	return parsed.Execute(w, map[string]any{
		"Report": r, "Lines": r.lines(), "Charts": charts, "Confusions": r.confusions(),
	})
}

// matrix is a confusion matrix to look at.
type matrix struct {
	Title string
	Rows  []matrixRow
}

type matrixRow struct {
	Class string
	Right string
	Cells []cell
}

type cell struct {
	Count int
	Shade template.CSS // of the background
	Title string
}

// mostShown is the largest number of classes for which a matrix is of use to the eye.
const mostShown = 40

func (r *Report) confusions() (out []matrix) {
	if len(r.Classes) > mostShown {
		return nil
	}
	for _, n := range r.Networks {
		m := matrix{Title: n.Role}
		for i, row := range n.Measures.Probe.Confusion {
			total := 0
			for _, count := range row {
				total += count
			}
			shown := matrixRow{Class: r.Classes[i], Right: percent(float64(row[i]) / float64(max(1, total)))}
			for j, count := range row {
				share := float64(count) / float64(max(1, total))
				hue := 10 // of an error
				if i == j {
					hue = 150
				}
				shown.Cells = append(shown.Cells, cell{
					count, template.CSS(fmt.Sprintf("background:hsl(%d 70%% %.0f%%)", hue, 98-45*share)),
					fmt.Sprintf("%d of %d images of %s taken for %s", count, total, r.Classes[i], r.Classes[j]),
				})
			}
			m.Rows = append(m.Rows, shown)
		}
		out = append(out, m)
	}
	return out
}
