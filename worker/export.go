package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/version"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/storage/safetensors"
	"pupil/worker/export"
	"pupil/worker/student"
)

// exporting is what the command was asked.
type exporting struct {
	out, head  string
	fold, json bool
}

// noHead leaves classifiers out.
const noHead = "none"

func exportCommand() *cobra.Command {
	var e exporting
	cmd := &cobra.Command{
		Use:   "export STUDENT --out FILE",
		Short: "Write a student for other programs, as ONNX or safetensors",
		Long: "Export writes a student as FILE.onnx (opset 17, any batch) or FILE.safetensors. An ONNX file takes images [N,\n" +
			"channels, size, size] and gives features and, with a classifier, logits and probabilities. What a program must\n" +
			"know to prepare images, and the classes' names, are in the file's metadata.\n\n" +
			"STUDENT is the folder or URL of a student (config.json and model.safetensors).",
		Example: "  worker export runs/one/student --out student.onnx\n" +
			"  worker export runs/one/student --out features.onnx --head none --fold=false\n" +
			"  worker export runs/one/student --out s3://models/student.safetensors",
		Args: config.Args(1, "a student's folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&e.out, "out", "", "file or URL to write, with the ending .onnx or .safetensors")
	f.StringVar(&e.head, "head", "", "classifier: file or URL of a head, own, or none (default: as worker classify takes one)")
	f.BoolVar(&e.fold, "fold", true, "make batch norms part of the convolutions; of safetensors only where it is given")
	f.BoolVar(&e.json, "json", false, "print JSON")
	return cmd
}

// exported is the summary that --json prints.
type exported struct {
	File       string   `json:"file"`
	Bytes      int      `json:"bytes"`
	Student    string   `json:"student"` // digest
	Features   int      `json:"features"`
	Classifier string   `json:"classifier"` // none, own or head
	Classes    []string `json:"classes,omitempty"`
	Folded     bool     `json:"folded"`
}

// kindOf is the ending of a file's or an object's name.
func kindOf(out string) string {
	url, err := location.FromPath(out)
	if err != nil {
		return ""
	}
	_, key, err := location.Split(url)
	if err != nil {
		return ""
	}
	return path.Ext(key)
}

func (e *exporting) run(cmd *cobra.Command, from string) error {
	kind := kindOf(e.out)
	if kind != ".onnx" && kind != ".safetensors" {
		return config.Usagef("--out is %q; give a name that ends in .onnx or .safetensors", e.out)
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	b, key, err := openObject(cmd, e.out)
	if err != nil {
		return err
	}
	c := export.Config{
		Model: m.Config, Student: m.Digest, Version: version.String(),
		Fold: e.fold && (kind == ".onnx" || cmd.Flags().Changed("fold")),
	}
	s := exported{File: e.out, Student: m.Digest, Features: m.Network.Features(), Folded: c.Fold}
	if s.Classifier, err = e.classifier(cmd, m, &c); err != nil {
		return err
	}
	data, err := encode(kind, m, c)
	if err != nil {
		return err
	}
	if err := storage.WriteAll(cmd.Context(), b, key, data); err != nil {
		return err
	}
	s.Bytes = len(data)
	if c.Head != nil {
		s.Classes = c.Head.Classes
	} else if c.Own {
		s.Classes = m.Config.Classes
	}
	if e.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %.2f MB, %d features, classifier: %s\n", e.out, float64(s.Bytes)/1e6, s.Features, s.Classifier)
	return nil
}

func encode(kind string, m *student.Model, c export.Config) ([]byte, error) {
	if kind == ".onnx" {
		return export.ONNX(m.Network, m.State, c)
	}
	var f *safetensors.File
	f, err := export.Safetensors(m.Network, m.State, c)
	if err != nil {
		return nil, err
	}
	return f.Encode()
}

// classifier chooses it as worker classify does, and says which it is. Without any, only features are written.
func (e *exporting) classifier(cmd *cobra.Command, m *student.Model, c *export.Config) (string, error) {
	if e.head == noHead {
		return noHead, nil
	}
	found, err := openClassifier(cmd, m, e.head)
	switch {
	case errors.Is(err, student.ErrNoClassifier) && e.head == "":
		return noHead, nil
	case err != nil:
		return "", err
	case found.Own():
		c.Own = true
		return "own", nil
	}
	h := found.Head()
	c.Head = &export.Head{Classes: h.Classes, Weights: h.Weights, Bias: h.Bias}
	return "head of " + strings.Join(h.Classes, ", "), nil
}
