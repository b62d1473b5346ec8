package main

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pupil/worker/nn"
	"pupil/worker/student"
)

// Every request is answered, or over the limit refused; none fails.
func TestLoad(t *testing.T) {
	c := nn.ModelConfig{Config: nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.25, Size: 32, Channels: 3}}
	n, err := nn.New(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	s := n.NewState()
	n.Init(s, 1)
	m, err := student.NewModel(n, s, c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := load(t.Context(), &b, m, 200, 8); err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(\d+) requests, (\d+) answered, (\d+) refused with 429, (\d+) errors`).FindAllStringSubmatch(b.String(), -1)
	if len(found) != 2 || !strings.Contains(b.String(), "over the limit of 2") {
		t.Fatal(b.String())
	}
	for i, line := range found {
		var v [5]int
		for j := range v {
			v[j], _ = strconv.Atoi(line[j])
		}
		if v[2]+v[3] != v[1] || v[4] != 0 || v[2] == 0 || i == 0 && v[3] > 0 {
			t.Errorf("%s", line[0])
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 4, 1: 4} {
		if got := quantile(v, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}
