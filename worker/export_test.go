package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"pupil/storage/safetensors"
)

func TestExport(t *testing.T) {
	model, folder := copied(t), t.TempDir()
	file := filepath.Join(folder, "s.onnx")
	run := func(args ...string) (s exported) {
		t.Helper()
		text, _, err := perform(exportCommand(), nil, append([]string{model, "--out", file, "--json"}, args...)...)
		if err != nil || json.Unmarshal([]byte(text), &s) != nil {
			t.Fatalf("%v: %q, %v", args, text, err)
		}
		return s
	}
	if s := run(); s.Classifier != "own" || len(s.Classes) != 10 || !s.Folded || s.Bytes != len(read(t, file)) {
		t.Errorf("%+v", s)
	}
	if s := run("--head", "none", "--fold=false"); s.Classifier != "none" || len(s.Classes) != 0 || s.Folded {
		t.Errorf("%+v", s)
	}
	if _, _, err := perform(fitHeadCommand(), nil, model, corners(t)); err != nil {
		t.Fatal(err)
	}
	if s := run(); s.Classifier != "head of far, near" || len(s.Classes) != 2 {
		t.Errorf("%+v", s)
	}
	if s := run("--head", "own"); s.Classifier != "own" {
		t.Errorf("%+v", s)
	}
	file = filepath.Join(folder, "s.safetensors")
	run("--head", "none")
	f, err := safetensors.Decode(read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Lookup("bn1.weight"); !ok || f.Metadata["image.size"] != "28" {
		t.Errorf("no batch norm, or metadata %v", f.Metadata)
	}
	run("--fold")
	if f, err = safetensors.Decode(read(t, file)); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Lookup("bn1.weight"); ok || len(f.Tensors) == 0 {
		t.Error("folded, and a batch norm is there")
	}
}

func TestExportRefuses(t *testing.T) {
	folder := t.TempDir()
	for want, args := range map[string][]string{
		"ends in .onnx or":   {teacher, "--out", folder + "/x.pb"},
		"ends in .onnx or .": {teacher},
		"no usable model":    {folder, "--out", folder + "/x.onnx"},
		"not found":          {teacher, "--out", folder + "/x.onnx", "--head", folder + "/none.safetensors"},
		"a student's folder": {},
	} {
		if err := fails(exportCommand(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
}
