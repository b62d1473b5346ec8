package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage/location"
	"pupil/worker/nn"
	"pupil/worker/student"
	"pupil/worker/student/table"
)

// extraction is what the command was asked.
type extraction struct {
	use
	out, format, names, output string
	normalize                  bool
}

func extractCommand() *cobra.Command {
	var e extraction
	cmd := &cobra.Command{
		Use:   "extract STUDENT IMAGES...",
		Short: "Compute the features of images with a student",
		Long: "Extract writes the features of images, in their order: as JSON lines or CSV, with the images' names, or as NumPy's\n" +
			".npy with a file of names beside it. Images are prepared as the student's config.json says. The result does not\n" +
			"depend on --batch and --threads.\n\n" + imagesHelp,
		Example: "  worker extract runs/one/student photos/ --out features.npy\n" +
			"  worker extract runs/one/student 'photos/*.jpg' --normalize --out features.csv\n" +
			"  worker extract s3://models/student s3://bucket/faces --out faces.jsonl --threads 4\n" +
			"  cat cat.jpg | worker extract runs/one/student -",
		Args: atLeast(2, "a student's folder and images"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, args[0], args[1:]) },
	}
	e.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.out, "out", "-", "file to write; - is standard output")
	f.StringVar(&e.format, "format", "", "format: "+strings.Join(table.Formats(), ", ")+" (default: by the name of --out, and jsonl on standard output)")
	f.StringVar(&e.names, "names", "", "file for the names of an .npy's rows (default: its name with .names.txt)")
	f.StringVar(&e.output, "output", nn.Pooled.String(), "what to write: pooled, logits or projection")
	f.BoolVar(&e.normalize, "normalize", false, "scale each image's features to length 1")
	return cmd
}

// extracted is the summary that --json prints.
type extracted struct {
	Images  int    `json:"images"`
	Skipped int    `json:"skipped"`
	Width   int    `json:"width"`
	File    string `json:"file"`
	Names   string `json:"names,omitempty"`
	Student string `json:"student"` // digest
}

func (e *extraction) run(cmd *cobra.Command, from string, args []string) error {
	format, err := e.check()
	if err != nil {
		return err
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	pick, width, err := e.columns(m)
	if err != nil {
		return err
	}
	set, err := openImages(cmd, args)
	if err != nil {
		return err
	}
	summary := extracted{Width: width, File: e.out, Student: m.Digest}
	write := func(w, names io.Writer) error {
		t, err := table.New(w, format, width)
		if err != nil {
			return err
		}
		if names != nil {
			t.Names(names)
		}
		summary.Skipped, err = e.stream(cmd, m, set, func(r student.Result) error {
			values := pick(r)
			if e.normalize {
				values = student.Unit(values, width)
			}
			return t.Row(table.Row{Name: r.Name, Class: className(set.Classes, r.Label), Values: values})
		})
		summary.Images = t.Rows()
		return errors.Join(err, t.Close())
	}
	switch {
	case e.out == "-":
		return write(cmd.OutOrStdout(), nil)
	case format == table.NPY:
		summary.Names = e.names
		err = writeWhole(e.names, func(names io.Writer) error {
			return writeWhole(e.out, func(w io.Writer) error { return write(w, names) })
		})
	default:
		err = writeWhole(e.out, func(w io.Writer) error { return write(w, nil) })
	}
	if err != nil {
		return err
	}
	if e.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(summary)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d images, %d features each%s\n", e.out, summary.Images, width, skippedText(summary.Skipped))
	return nil
}

// skippedText tells of images that were left out, if there are some.
func skippedText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d images left out, which cannot be decoded", n)
}

// check validates the flags, and fills in what follows from others.
func (e *extraction) check() (table.Format, error) {
	if err := e.use.check(); err != nil {
		return "", err
	}
	format := table.Format(e.format)
	switch {
	case e.format == "" && e.out == "-":
		format = table.JSONL
	case e.format == "":
		f, err := table.FormatOf(e.out)
		if err != nil {
			return "", config.Usagef("--out: %w with --format", err)
		}
		format = f
	}
	switch {
	case e.out == "-" && format == table.NPY:
		return "", config.Usagef("an .npy cannot be written to standard output; give --out FILE.npy, or another --format")
	case e.out == "-" && e.json:
		return "", config.Usagef("--json prints a summary, and standard output has the features; give --out FILE")
	case strings.Contains(e.out, "://"):
		return "", config.Usagef("--out is %q; features are written to a file or to standard output, not to a bucket", location.Redact(e.out))
	case e.out != "-" && !isFolder(filepath.Dir(e.out)):
		return "", config.Usagef("--out is %q, and there is no folder %s; make it, or give another", e.out, filepath.Dir(e.out))
	case e.names != "" && format != table.NPY:
		return "", config.Usagef("--names is for .npy; %s has the names in it", format)
	case e.names == "":
		e.names = strings.TrimSuffix(e.out, filepath.Ext(e.out)) + ".names.txt"
	}
	if _, err := table.New(io.Discard, format, 1); format != table.NPY && err != nil {
		return "", config.Usagef("--format: %w", err)
	}
	return format, nil
}

// columns says what of a result is written.
func (e *extraction) columns(m *student.Model) (pick func(student.Result) []float32, width int, err error) {
	switch e.output {
	case nn.Pooled.String():
		pick, width = func(r student.Result) []float32 { return r.Pooled }, m.Network.Width(nn.Pooled)
	case nn.Logits.String():
		pick, width = func(r student.Result) []float32 { return r.Logits }, m.Network.Width(nn.Logits)
	case nn.Projection.String():
		pick, width = func(r student.Result) []float32 { return r.Projection }, m.Network.Width(nn.Projection)
	default:
		return nil, 0, config.Usagef("--output is %q; give pooled, logits or projection", e.output)
	}
	if width == 0 {
		return nil, 0, config.Usagef("--output is %s, and this student has none; give pooled", e.output)
	}
	return pick, width, nil
}

var _ io.WriteSeeker = (*os.File)(nil) // what an .npy is written to
