package main

import (
	"strings"
	"testing"
	"time"

	"pupil/coordinator/api"
)

// TestPicture draws a run: bars that fill their width, what is slow and why, and nothing that moves a terminal's cursor.
func TestPicture(t *testing.T) {
	t0 := &top{history: map[string]*trace{}}
	s := &api.Status{Leader: "a", Time: time.Unix(0, 0)}
	for step := 1; step <= 100; step++ {
		s.Runs = []api.Run{{
			Run: "one", Phase: "running", Step: step, Total: 200, Loss: 1 / float64(step), MutualInformation: float64(step), StepSeconds: 1,
			ImagesPerSecond: 10, Reason: "\x1b[2Jcleared",
			Workers: []api.Worker{
				{ID: "w0", Rank: 0, Lanes: []int{0, 1, 2, 5}, Compute: 0.5, Wait: 0.5},
				{ID: "w1", Rank: 1, Lanes: []int{3, 4}, Compute: 1},
			},
			Slow: &api.Slow{Worker: "w1", Rank: 1, Cause: "compute"},
		}}
		t0.note(s)
	}
	text := string(t0.picture(s, []*api.Event{{Run: "one", Text: "submitted"}}, 90))
	for _, want := range []string{
		"[####################                    ] step 100 of 200, 10 images/s",
		"w0               lanes 0-2,5    [##########----------]  500 ms computing\n",
		"w1               lanes 3-4      [####################] 1000 ms computing  the others wait for it: compute\n",
		"▁▁▁▁▁", "one  submitted",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("the picture has a terminal's commands: %q", text)
	}
	for _, shares := range [][]part{{{'#', 2}}, {{'#', -1}, {'-', 0.5}}, {{'#', 0.999}, {'-', 0.999}}} {
		if b := bar(20, shares...); len(b) != 20 {
			t.Errorf("%v: a bar of %d signs", shares, len(b))
		}
	}
}
