package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnrollAndIdentify(t *testing.T) {
	pictures, file := corners(t), filepath.Join(t.TempDir(), "people.gallery")
	near := filepath.Join(pictures, "near")

	// One identity is not enough for a threshold.
	text, _, err := perform(enrollCommand(), nil, teacher, near, "--name", "near", "--gallery", file)
	if err != nil || !strings.Contains(text, "8 images added; 8 of 1 identities in all\nno threshold") {
		t.Fatalf("%q, %v", text, err)
	}
	if err := fails(identifyCommand(), teacher, near, "--gallery", file); err == nil || !strings.Contains(err.Error(), "no threshold") {
		t.Errorf("got %v", err)
	}
	if text, _, err := perform(identifyCommand(), square(t, 3), teacher, "-", "--gallery", file, "--threshold", "0.5"); err != nil || !strings.HasPrefix(text, "-\tnear\tnear 1.0000") {
		t.Errorf("%q, %v", text, err)
	}

	// What is there stays, and is not added twice.
	text, _, err = perform(enrollCommand(), nil, teacher, pictures, "--gallery", file, "--json")
	var s enrolled
	if err != nil || json.Unmarshal([]byte(text), &s) != nil || s.Added != 8 || s.Present != 8 || s.Entries != 16 || s.Identities != 2 || s.Threshold == nil {
		t.Fatalf("%q, %v", text, err)
	}
	lines, messages, err := perform(identifyCommand(), nil, teacher, pictures, "--gallery", file, "--json")
	if err != nil || strings.Count(lines, "\n") != 16 || !strings.Contains(messages, "right: ") {
		t.Fatalf("%q, %q, %v", lines, messages, err)
	}
	var first identified
	if err := json.Unmarshal([]byte(lines[:strings.Index(lines, "\n")]), &first); err != nil || first.Label != "far" || len(first.Candidates) != 2 || first.Candidates[0].Identity != "far" {
		t.Errorf("%+v, %v", first, err)
	}
	noise := filepath.Join(test) // clothes are no squares
	if text, _, err := perform(identifyCommand(), nil, teacher, noise, "--gallery", file, "--threshold", "1"); err != nil || strings.Count(text, "\tunknown\t") != 1000 {
		t.Errorf("%.300q, %v", text, err)
	}

	// Another student, and damage.
	other := copied(t)
	if err := os.WriteFile(filepath.Join(other, "config.json"), append(read(t, filepath.Join(other, "config.json")), '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []error{
		fails(identifyCommand(), other, pictures, "--gallery", file), fails(enrollCommand(), other, pictures, "--gallery", file),
	} {
		if cmd == nil || !strings.Contains(cmd.Error(), "made with another student") {
			t.Errorf("got %v", cmd)
		}
	}
	data := read(t, file)
	data[len(data)-1] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := fails(identifyCommand(), teacher, pictures, "--gallery", file); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
	if err := fails(enrollCommand(), teacher, pictures, "--gallery", file); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestIdentifyRefuses(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "g")
	flat := album(t, map[string][]byte{"1.png": square(t, 1)})
	for want, err := range map[string]error{
		"--gallery is missing":      fails(identifyCommand(), teacher, test),
		"--gallery is missing; ":    fails(enrollCommand(), teacher, test),
		"worker enroll makes":       fails(identifyCommand(), teacher, test, "--gallery", file),
		"whose image is":            fails(enrollCommand(), teacher, flat, "--gallery", file),
		"--false-accept is 1":       fails(enrollCommand(), teacher, test, "--gallery", file, "--false-accept", "1"),
		"--top is 0":                fails(identifyCommand(), teacher, test, "--gallery", file, "--top", "0"),
		"is a folder; name a file":  fails(enrollCommand(), teacher, test, "--gallery", folder),
		"the gallery cannot be use": fails(identifyCommand(), teacher, test, "--gallery", "main.go"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("failures leave %v, %v", left, err)
	}
}
