package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerifyCommand looks at its exit codes and at what it prints; worker/student tests what it finds.
func TestVerifyCommand(t *testing.T) {
	folder := copied(t)
	text, _, err := perform(verifyCommand(), nil, folder)
	if err != nil || !strings.Contains(text, "weights_sha256") || !strings.Contains(text, "nothing beside it says") {
		t.Errorf("a folder of an older version: %v\n%s", err, text)
	}
	run := t.TempDir()
	if err := os.CopyFS(filepath.Join(run, "student"), os.DirFS(teacher)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"run.json": `{}`, "summary.json": `{"weights_sha256": "00"}`} {
		if err := os.WriteFile(filepath.Join(run, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, _, err = perform(verifyCommand(), nil, run, "--json")
	if err == nil || !strings.Contains(err.Error(), "summary.json says 00") || !strings.Contains(text, `"faults":["the weights have`) {
		t.Errorf("weights of another run: %v\n%s", err, text)
	}
	unfinished := t.TempDir()
	if err := os.WriteFile(filepath.Join(unfinished, "run.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{folder}, 0, ""},
		{[]string{run}, 1, "do not belong together"},
		{[]string{unfinished}, 1, "has no whole student"},
		{[]string{t.TempDir()}, 2, "neither a run nor a student's folder"},
		{nil, 2, "needs the folder"},
	} {
		if code, messages := exits(t, append([]string{"verify"}, x.args...)...); code != x.code || !strings.Contains(messages, x.want) {
			t.Errorf("%v: exit code %d, want %d\n%s", x.args, code, x.code, messages)
		}
	}
}
