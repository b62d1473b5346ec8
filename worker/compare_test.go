package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/coordinator/wire"
	"pupil/worker/student/report"
)

func TestEvalOfStudent(t *testing.T) {
	pictures, page := corners(t), filepath.Join(t.TempDir(), "r.html")
	text, _, err := perform(evalCommand(), nil, teacher, "--train", pictures, "--test", pictures, "--teacher", copied(t), "--html", page, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Networks) != 2 || r.Networks[0].Role != "student" || r.Train != 16 || r.Test != 16 || len(r.Networks[1].Measures.Robustness) != 15 {
		t.Errorf("report %.400s", text)
	}
	if p := r.Networks[0].Measures.Probe; p.Top1 < 0.9 || p.Top5 != 1 {
		t.Errorf("probe %+v", p)
	}
	if !strings.Contains(string(read(t, page)), "<svg") {
		t.Error("the page has no plots")
	}
	text, _, err = perform(evalCommand(), nil, teacher, "--train", pictures, "--test", pictures, "--corruptions=false")
	if err != nil || !strings.Contains(text, "clusters that match") || strings.Contains(text, "rotation") || strings.Contains(text, "teacher") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEvalRefuses(t *testing.T) {
	pictures := corners(t)
	flat := album(t, map[string][]byte{"1.png": square(t, 1)})
	more := album(t, map[string][]byte{"near/1.png": square(t, 1), "else/1.png": square(t, 2)})
	broken := album(t, map[string][]byte{"near/1.png": square(t, 1), "far/1.png": []byte("x")})
	stopped := album(t, map[string][]byte{wire.RecordName: []byte(`{"spec": {}}`)})
	for want, args := range map[string][]string{
		"is no run":                 {teacher},
		"has no student yet":        {stopped},
		"both --train and --test":   {teacher, "--train", pictures},
		"have 0 classes":            {teacher, "--train", flat, "--test", pictures},
		`the class "else"`:          {teacher, "--train", pictures, "--test", more},
		"1.png has no class":        {teacher, "--train", pictures, "--test", flat},
		"there is no folder":        {teacher, "--train", pictures, "--test", pictures, "--html", flat + "/no/r.html"},
		"no usable model":           {flat, "--train", pictures, "--test", pictures},
		"--broken skip leaves such": {teacher, "--train", pictures, "--test", broken},
		"--threads is 0":            {teacher, "--threads", "0"},
	} {
		if err := fails(evalCommand(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
	if left, err := os.ReadDir(flat); err != nil || len(left) != 1 {
		t.Errorf("failures leave %v, %v", left, err)
	}
}
