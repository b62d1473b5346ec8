package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	mit, err := os.ReadFile("testdata/mit.txt")
	if err != nil {
		t.Fatal(err)
	}
	json := bytes.Replace(mit, []byte("\nTHE SOFTWARE IS"), []byte("\nThe Software shall be used for Good, not Evil.\n\nTHE SOFTWARE IS"), 1)
	for _, tt := range []struct{ path, file, text, licence, fault string }{
		{"example.org/a", "LICENSE", string(mit), "MIT", ""},
		{"example.org/b", "COPYING.md", "Copyright 2020 B\n" + string(mit), "MIT", ""},
		{"example.org/c", "LICENSE", "This work is ours. " + strings.Repeat("You may look at it. ", 40), "", "no known licence"},
		{"example.org/d", "main.go", "package d", "", "no known licence"},
		{"example.org/e", "LICENSE", string(json), "", "JSON, which is not among"},
		{"github.com/golang/freetype", "LICENSE", "either licence", "FTL", ""},
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, tt.file), []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := read(tt.path, "v1.0.0", folder)
		switch {
		case tt.fault == "" && (err != nil || m.licence != tt.licence || string(m.texts[tt.file]) != tt.text):
			t.Errorf("%s: %+v, %v", tt.path, m, err)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
			t.Errorf("%s: %v, want %q", tt.path, err, tt.fault)
		}
	}
}
