package report_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"pupil/worker/nn"
	"pupil/worker/student"
	"pupil/worker/student/measure"
	"pupil/worker/student/report"
)

func measured(t testing.TB, shift float32) *measure.Measures {
	t.Helper()
	f := student.Features{Width: 2}
	for i := range 60 {
		label := i % 3
		f.Labels = append(f.Labels, label)
		f.Values = append(f.Values, float32(label)+shift*float32(i%7), 1-shift*float32(i%5))
	}
	m, err := measure.Of(f, f, measure.Config{Classes: []string{"x", "<b>", "z"}, Neighbours: []int{5, 10}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range measure.Corruptions() {
		m.Robustness = append(m.Robustness, measure.Corrupted{Kind: c.Kind, Strength: c.Strength, Setting: c.Setting, Probe: 0.5})
	}
	return m
}

func compared(t testing.TB) *report.Report {
	t.Helper()
	r := &report.Report{Title: "<script>alert(1)</script>", Train: 60, Test: 60, Classes: []string{"x", "<b>", "z"}}
	for i, name := range []string{"mobilenet_v2", "resnet18"} {
		n, err := nn.New(nn.Config{Architecture: name, Width: 1, Outputs: 3, Size: 32, Channels: 3})
		if err != nil {
			t.Fatal(err)
		}
		d := report.Describe([]string{"student", "teacher"}[i], name, n)
		d.Measures = measured(t, float32(i)*0.3+0.1)
		r.Networks = append(r.Networks, d)
	}
	return r
}

// The page has all figures, is well-formed as far as plots go, and asks for nothing else.
func TestHTML(t *testing.T) {
	r := compared(t)
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		"mobilenet_v2, width 1", "k-NN with k = 10", "retrieval, mean average precision", "accepted at 0.001",
		"Linear probe under rotation", "Linear probe under brightness", "what the teacher takes for what", "11178051",
		"images of &lt;b&gt; taken for x",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, not := range []string{"<script", "src=", "href=\"http", "@import", "url(", "NaN"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	charts := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(charts) != 5 {
		t.Errorf("%d plots", len(charts))
	}
	for _, svg := range charts {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestText(t *testing.T) {
	r := compared(t)
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"60 test images of 3 classes, 60 to learn from student teacher",
		fmt.Sprintf("retrieval, mean average precision %.2f%% %.2f%%", 100*r.Networks[0].Measures.Retrieval, 100*r.Networks[1].Measures.Retrieval),
		"linear probe under occlusion, mean 50.00% 50.00%",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(text, "own classifier") {
		t.Error("a line of what no network has")
	}
}

// Many classes have no matrix, and one network is enough.
func TestManyClasses(t *testing.T) {
	r := compared(t)
	r.Networks = r.Networks[:1]
	r.Networks[0].Measures.Robustness = nil
	for len(r.Classes) < 50 {
		r.Classes = append(r.Classes, "more")
	}
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil || strings.Contains(b.String(), "for what</h2>") || strings.Contains(b.String(), "rotation,") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func Example() {
	r := report.Report{Title: "student", Classes: []string{"cat", "dog"}}
	err := r.HTML(io.Discard)
	fmt.Println(err)
	// Output: <nil>
}
