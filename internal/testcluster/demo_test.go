//go:build e2e

package testcluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/testcluster"
	"pupil/worker/student"
	"pupil/worker/student/report"
)

// TestDemo runs the whole job of `make demo` and looks at all that it promises.
func TestDemo(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	s := testcluster.Run(t, demo, "--workers", "2", "--storage", folder)
	if s.Folder != folder || s.Outcome != "finished" || s.Steps == 0 || s.ImagesPerSecond <= 0 {
		t.Errorf("summary %+v", s)
	}
	teacher, untrained, trained := *s.KNN.Teacher, *s.KNN.Untrained, *s.KNN.Student
	t.Logf("k-NN: teacher %.3f, untrained %.3f, student %.3f; %.0f images/s", teacher, untrained, trained, s.ImagesPerSecond)
	if trained < 0.8 {
		t.Errorf("the student's k-NN accuracy is %.3f; want 0.8 at least", trained)
	}
	if trained < untrained+0.03 {
		t.Errorf("the student's k-NN accuracy is %.3f, the untrained one's %.3f; want it clearly above", trained, untrained)
	}
	if s.MutualInformation < 0.02 {
		t.Errorf("the mutual information of a feature group is %.3f nat; want 0.02 at least", s.MutualInformation)
	}

	var verified student.Verified
	if err := json.Unmarshal([]byte(worker(t, "verify", folder, "--json")), &verified); err != nil {
		t.Fatal(err)
	}
	if verified.Weights != s.WeightsSHA256 || len(verified.Agreed) != 3 || verified.Provenance.Step != s.Steps {
		t.Errorf("the summary says %s, worker verify %+v", s.WeightsSHA256, verified)
	}
	if got := digestInPython(t, filepath.Join(folder, "student")); got != s.WeightsSHA256 {
		t.Errorf("the script of docs/storage.md gives %s, the summary says %s", got, s.WeightsSHA256)
	}
	data, err := os.ReadFile(filepath.Join(folder, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var saved testcluster.Summary
	if err := json.Unmarshal(data, &saved); err != nil || saved.WeightsSHA256 != s.WeightsSHA256 || *saved.KNN.Student != trained {
		t.Errorf("summary.json: %+v, error %v", saved, err)
	}
	if found, err := filepath.Glob(filepath.Join(folder, "checkpoints", "*", "manifest.json")); err != nil || len(found) == 0 {
		t.Errorf("no whole checkpoint: %v", err)
	}

	page := filepath.Join(t.TempDir(), "report.html")
	var compared report.Report
	if err := json.Unmarshal([]byte(worker(t, "eval", folder, "--html", page, "--json")), &compared); err != nil {
		t.Fatal(err)
	}
	if n := compared.Networks; len(n) != 2 || n[0].Role != "student" || n[1].Role != "teacher" || n[0].Measures.KNN[1].Top1 != trained ||
		n[1].Measures.KNN[1].Top1 != teacher || len(n[0].Measures.Robustness) != 15 {
		t.Errorf("worker eval --html: %+v", n)
	}
	if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), "<svg") {
		t.Errorf("the page: %v", err)
	}

	again := testcluster.Run(t, demo, "--workers", "1", "--storage", folder, "--resume")
	if again.WeightsSHA256 != s.WeightsSHA256 {
		t.Error("--resume of a finished run tells of other weights")
	}
}
