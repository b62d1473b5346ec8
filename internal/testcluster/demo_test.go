//go:build e2e

package testcluster_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/testcluster"
	"pupil/worker/student/report"
)

// TestDemo runs the whole job of `make demo` and looks at all that it promises.
func TestDemo(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	s := testcluster.Run(t, demo, "--workers", "2", "--storage", folder)
	if s.Folder != folder || s.Outcome != "finished" || s.Steps == 0 || s.ImagesPerSecond <= 0 {
		t.Errorf("summary %+v", s)
	}
	teacher, untrained, student := *s.KNN.Teacher, *s.KNN.Untrained, *s.KNN.Student
	t.Logf("k-NN: teacher %.3f, untrained %.3f, student %.3f; %.0f images/s", teacher, untrained, student, s.ImagesPerSecond)
	if student < 0.8 {
		t.Errorf("the student's k-NN accuracy is %.3f; want 0.8 at least", student)
	}
	if student < untrained+0.03 {
		t.Errorf("the student's k-NN accuracy is %.3f, the untrained one's %.3f; want it clearly above", student, untrained)
	}
	if s.MutualInformation < 0.02 {
		t.Errorf("the mutual information of a feature group is %.3f nat; want 0.02 at least", s.MutualInformation)
	}

	h := sha256.New()
	for _, name := range []string{"model.safetensors", "prior.safetensors"} {
		data, err := os.ReadFile(filepath.Join(folder, "student", name))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != s.WeightsSHA256 {
		t.Errorf("cat model.safetensors prior.safetensors | sha256sum gives %s, the summary says %s", got, s.WeightsSHA256)
	}
	if _, err := os.Stat(filepath.Join(folder, "student", "config.json")); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var saved testcluster.Summary
	if err := json.Unmarshal(data, &saved); err != nil || saved.WeightsSHA256 != s.WeightsSHA256 || *saved.KNN.Student != student {
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
	if n := compared.Networks; len(n) != 2 || n[0].Role != "student" || n[1].Role != "teacher" || n[0].Measures.KNN[1].Top1 != student ||
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
