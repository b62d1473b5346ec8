package student_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"pupil/worker/student"
)

func TestProbeAgreesWithScikitLearn(t *testing.T) {
	data, err := os.ReadFile("testdata/probe.json") // probe.py made it
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			C           float64   `json:"c"`
			Width       int       `json:"width"`
			Train       []float32 `json:"train"`
			TrainLabels []int     `json:"train_labels"`
			Test        []float32 `json:"test"`
			TestLabels  []int     `json:"test_labels"`
			Weights     []float64 `json:"weights"`
			Intercepts  []float64 `json:"intercepts"`
			Loss        float64   `json:"loss"`
			Accuracy    float64   `json:"accuracy"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 4 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	for i, c := range file.Cases {
		train := student.Features{Width: c.Width, Values: c.Train, Labels: c.TrainLabels}
		test := student.Features{Width: c.Width, Values: c.Test, Labels: c.TestLabels}
		p, err := student.FitProbe(train, student.ProbeConfig{C: c.C, Tolerance: 5e-7, Iterations: 1000}, 1)
		if err != nil {
			t.Fatal(err)
		}
		accuracy, err := p.Accuracy(test, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Converged || accuracy != c.Accuracy || math.Abs(p.Loss-c.Loss) > 1e-7 {
			t.Errorf("case %d: converged %v, accuracy %v, loss %v; want %v, %v", i, p.Converged, accuracy, p.Loss,
				c.Accuracy, c.Loss)
		}
		for _, v := range []struct {
			name      string
			got, want []float64
		}{{"weight", p.Weights, c.Weights}, {"intercept", p.Intercepts, c.Intercepts}} {
			if len(v.got) != len(v.want) {
				t.Fatalf("case %d: %d %ss, want %d", i, len(v.got), v.name, len(v.want))
			}
			for j := range v.got {
				if d := math.Abs(v.got[j] - v.want[j]); d > 5e-4*(1+math.Abs(v.want[j])) {
					t.Errorf("case %d: %s %d is %v, want %v", i, v.name, j, v.got[j], v.want[j])
				}
			}
		}
		usual, err := student.Probe(train, test, student.ProbeConfig{C: c.C, Tolerance: 1e-4, Iterations: 1000}, 1)
		if err != nil || math.Abs(usual-c.Accuracy) > 1.0/float64(len(c.TestLabels)) {
			t.Errorf("case %d: accuracy %v with the usual tolerance, want %v (%v)", i, usual, c.Accuracy, err)
		}
	}
}

// steepest is the largest entry of the gradient of the mean loss + |W|^2 / (2 C n), by its definition in float64.
func steepest(f student.Features, p *student.LinearProbe, c float64) float64 {
	n, w, k := len(f.Labels), f.Width, len(p.Classes)
	z := make([]float64, n*w)
	for j := range w {
		mean, variance := 0.0, 0.0
		for i := range n {
			mean += float64(f.Values[i*w+j]) / float64(n)
		}
		for i := range n {
			d := float64(f.Values[i*w+j]) - mean
			variance += d * d / float64(n)
		}
		for i := range n {
			z[i*w+j] = (float64(f.Values[i*w+j]) - mean) / math.Sqrt(variance)
		}
	}
	g := make([]float64, k*(w+1))
	for j, v := range p.Weights {
		g[j] = v / (c * float64(n))
	}
	for i := range n {
		total, odds := 0.0, make([]float64, k)
		for a := range k {
			v := p.Intercepts[a]
			for j := range w {
				v += z[i*w+j] * p.Weights[a*w+j]
			}
			odds[a] = math.Exp(v)
			total += odds[a]
		}
		for a := range k {
			d := odds[a] / total
			if p.Classes[a] == f.Labels[i] {
				d--
			}
			for j := range w {
				g[a*w+j] += d * z[i*w+j] / float64(n)
			}
			g[k*w+a] += d / float64(n)
		}
	}
	largest := 0.0
	for _, v := range g {
		largest = max(largest, math.Abs(v))
	}
	return largest
}

// Sizes around those of blocks and stripes, and fewer images than stripes.
func TestProbeEndsAtAMinimum(t *testing.T) {
	for _, n := range []int{7, 255, 256 * 16, 5000} {
		train := clouds(3, n, 12, 5, 2)
		c := student.ProbeConfig{C: 0.5, Tolerance: 1e-5, Iterations: 500}
		p, err := student.FitProbe(train, c, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got := steepest(train, p, c.C); !p.Converged || got > 1.02*c.Tolerance {
			t.Errorf("%d images: converged %v after %d iterations with a gradient of %v", n, p.Converged, p.Iterations, got)
		}
	}
}

func TestProbeDoesNotDependOnThreads(t *testing.T) {
	train, test := clouds(1, 3000, 24, 10, 3), clouds(2, 1111, 24, 10, 3)
	var first *student.LinearProbe
	var share float64
	for _, threads := range []int{1, 2, 5, 40} {
		p, err := student.FitProbe(train, student.DefaultProbeConfig(), threads)
		if err != nil {
			t.Fatal(err)
		}
		accuracy, err := p.Accuracy(test, threads)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, share = p, accuracy
			if right := float64(len(test.Labels)) * share; share < 0.3 || math.Abs(right-math.Round(right)) > 1e-9 {
				t.Fatalf("an accuracy of %v", share)
			}
		}
		if !slices.Equal(p.Weights, first.Weights) || !slices.Equal(p.Intercepts, first.Intercepts) || accuracy != share {
			t.Errorf("%d threads give another probe than 1", threads)
		}
	}
}

func TestProbeAtTheEdges(t *testing.T) {
	one := student.Features{Width: 2, Values: []float32{1, 5, 2, 5, 3, 5}, Labels: []int{4, 4, 4}}
	p, err := student.FitProbe(one, student.DefaultProbeConfig(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Accuracy(one, 1); got != 1 || err != nil {
		t.Errorf("one class: accuracy %v, %v", got, err)
	}
	unseen := student.Features{Width: 2, Values: []float32{1, 5, 2, 5}, Labels: []int{4, 9}}
	if got, err := p.Accuracy(unseen, 1); got != 0.5 || err != nil {
		t.Errorf("a class that was not trained: accuracy %v, %v", got, err)
	}
	short := student.ProbeConfig{C: 1, Tolerance: 1e-9, Iterations: 2}
	if p, err := student.FitProbe(clouds(1, 300, 8, 4, 2), short, 1); err != nil || p.Converged || p.Iterations != 2 {
		t.Errorf("2 iterations: %+v, %v", p, err)
	}
	// A tolerance that float32 products cannot reach still ends, at the best point.
	fine := student.ProbeConfig{C: 1, Tolerance: 1e-15, Iterations: 100000}
	train := clouds(1, 300, 8, 4, 2)
	if p, err := student.FitProbe(train, fine, 1); err != nil || p.Converged || steepest(train, p, 1) > 1e-5 {
		t.Errorf("no reachable tolerance: %+v, %v", p, err)
	}
}

func TestProbeRefuses(t *testing.T) {
	good := clouds(1, 10, 4, 2, 1)
	unlabelled := clouds(1, 10, 4, 2, 1)
	unlabelled.Labels[3] = -1
	broken := clouds(1, 10, 4, 2, 1)
	broken.Values[5] = float32(math.NaN())
	usual := student.DefaultProbeConfig()
	for name, f := range map[string]func() (float64, error){
		"another width":    func() (float64, error) { return student.Probe(good, clouds(1, 10, 5, 2, 1), usual, 1) },
		"no label":         func() (float64, error) { return student.Probe(unlabelled, good, usual, 1) },
		"no label to test": func() (float64, error) { return student.Probe(good, unlabelled, usual, 1) },
		"a NaN":            func() (float64, error) { return student.Probe(broken, good, usual, 1) },
		"nothing to train": func() (float64, error) { return student.Probe(student.Features{Width: 4}, good, usual, 1) },
		"nothing to test":  func() (float64, error) { return student.Probe(good, student.Features{Width: 4}, usual, 1) },
		"a C of 0": func() (float64, error) {
			return student.Probe(good, good, student.ProbeConfig{C: 0, Tolerance: 1, Iterations: 1}, 1)
		},
		"a tolerance of 0": func() (float64, error) {
			return student.Probe(good, good, student.ProbeConfig{C: 1, Tolerance: 0, Iterations: 1}, 1)
		},
		"no iterations": func() (float64, error) {
			return student.Probe(good, good, student.ProbeConfig{C: 1, Tolerance: 1, Iterations: 0}, 1)
		},
		"a C that is no number": func() (float64, error) {
			return student.Probe(good, good, student.ProbeConfig{C: math.NaN(), Tolerance: 1, Iterations: 1}, 1)
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func ExampleProbe() {
	train := student.Features{Width: 2, Values: []float32{1, 0, 2, 0.1, 0, 1, 0.1, 3}, Labels: []int{0, 0, 1, 1}}
	test := student.Features{Width: 2, Values: []float32{5, 1, 1, 5}, Labels: []int{0, 1}}
	accuracy, err := student.Probe(train, test, student.DefaultProbeConfig(), 1)
	fmt.Println(accuracy, err)
	// Output: 1 <nil>
}
