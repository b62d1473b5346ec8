package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/worker/student"
)

// copied is a folder with the example's teacher, to write beside it.
func copied(t testing.TB) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(teacher)); err != nil {
		t.Fatal(err)
	}
	return to
}

// corners are pictures of two classes: a square at the top left, or at the bottom right.
func corners(t testing.TB) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("near/%d.png", i)] = square(t, i)
		files[fmt.Sprintf("far/%d.png", i)] = square(t, 17-i)
	}
	return album(t, files)
}

func TestFitHeadAndClassify(t *testing.T) {
	model, pictures := copied(t), corners(t)
	text, _, err := perform(fitHeadCommand(), nil, model, pictures, "--holdout", "0.25", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var s fitted
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Images != 16 || s.HeldOut != 4 || s.Accuracy == nil || len(s.Classes) != 2 {
		t.Errorf("summary %s, %v", text, err)
	}
	lines, messages, err := perform(classifyCommand(), nil, model, pictures, "--json")
	if err != nil || strings.Count(lines, "\n") != 16 {
		t.Fatalf("%s, %v", lines, err)
	}
	right := 0
	for line := range strings.Lines(lines) {
		var c classified
		if err := json.Unmarshal([]byte(line), &c); err != nil || len(c.Classes) != 2 {
			t.Fatal(line, err)
		}
		if c.Classes[0].Class == c.Label {
			right++
		}
	}
	if want := fmt.Sprintf("right: %d of 16", right); right < 14 || !strings.Contains(messages, want) {
		t.Errorf("%d right; messages %q", right, messages)
	}

	// The head beats the network's own classes, which are still there; a file of another name serves as well.
	own, _, err := perform(classifyCommand(), square(t, 3), model, "-", "--head", "own", "--top", "2")
	if err != nil || strings.Count(own, "\t") != 2 || strings.Contains(own, "near") {
		t.Errorf("own classes: %q, %v", own, err)
	}
	elsewhere := filepath.Join(t.TempDir(), "other.safetensors")
	if text, _, err := perform(fitHeadCommand(), nil, model, pictures, "--out", elsewhere, "--balance", "--holdout", "0"); err != nil || !strings.Contains(text, elsewhere+": 2 classes") {
		t.Errorf("%q, %v", text, err)
	}
	if text, _, err := perform(classifyCommand(), square(t, 3), model, "-", "--head", elsewhere); err != nil || !strings.HasPrefix(text, "-\tnear ") {
		t.Errorf("%q, %v", text, err)
	}

	// It is of no use with another student.
	config := filepath.Join(model, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := perform(classifyCommand(), nil, model, pictures); err == nil || !strings.Contains(err.Error(), "belongs to another student") {
		t.Errorf("got %v", err)
	}
}

func TestClassifyRefuses(t *testing.T) {
	pictures, flat := corners(t), album(t, map[string][]byte{"1.png": square(t, 1)})
	one := album(t, map[string][]byte{"a/1.png": square(t, 1)})
	for want, run := range map[string]func() error{
		"put each class into a folder": func() error { return fails(fitHeadCommand(), teacher, flat) },
		"the images have 1 classes":    func() error { return fails(fitHeadCommand(), teacher, one) },
		"1.png has no class":           func() error { return fails(fitHeadCommand(), teacher, pictures, filepath.Join(flat, "1.png")) },
		"--holdout is 1":               func() error { return fails(fitHeadCommand(), teacher, pictures, "--holdout", "1") },
		"C is 0":                       func() error { return fails(fitHeadCommand(), teacher, pictures, "--c", "0") },
		"is a folder":                  func() error { return fails(fitHeadCommand(), teacher, pictures, "--out", flat) },
		"--top is 0":                   func() error { return fails(classifyCommand(), teacher, pictures, "--top", "0") },
		"not found":                    func() error { return fails(classifyCommand(), teacher, pictures, "--head", "nothing.safetensors") },
		student.ErrHead.Error():        func() error { return fails(classifyCommand(), teacher, pictures, "--head", "main.go") },
	} {
		if err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
