package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage"
	"pupil/worker/student"
)

// fitting is what the command was asked.
type fitting struct {
	use
	out     string
	holdout float64
	config  student.ProbeConfig
}

func fitHeadCommand() *cobra.Command {
	f := fitting{config: student.DefaultProbeConfig()}
	cmd := &cobra.Command{
		Use:   "fit-head STUDENT IMAGES...",
		Short: "Fit a classifier on a student's features from labelled images",
		Long: "Fit-head fits a fully connected layer with a softmax on the frozen features of labelled images, by L-BFGS, and\n" +
			"saves it beside the student as " + student.HeadFile + ", tied to that student by its hash. Classes are those of a packed\n" +
			"dataset, or the folders in which the images lie. A share of the images is held out to measure the accuracy;\n" +
			"then the head is fitted to all.\n\n" + imagesHelp,
		Example: "  worker fit-head runs/one/student photos/            # photos/cat/1.jpg, photos/dog/2.jpg, ...\n" +
			"  worker fit-head runs/one/student faces/ --balance --holdout 0.2 --json\n" +
			"  worker fit-head runs/one/student deploy/examples/fashion-mnist/train --out fashion-head.safetensors",
		Args: atLeast(2, "a student's folder and labelled images"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1:]) },
	}
	f.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "", "file or URL to write (default: "+student.HeadFile+" in the student's folder)")
	flags.Float64Var(&f.holdout, "holdout", 0.1, "share of each class that is held out to measure the accuracy; 0: none")
	flags.Float64Var(&f.config.C, "c", f.config.C, "inverse strength of the penalty of large weights")
	flags.IntVar(&f.config.Iterations, "iterations", f.config.Iterations, "iterations at most")
	flags.BoolVar(&f.config.Balanced, "balance", false, "let rare classes count as much as frequent ones")
	return cmd
}

// fitted is the summary that --json prints.
type fitted struct {
	File      string        `json:"file"`
	Student   string        `json:"student"` // digest
	Images    int           `json:"images"`
	Skipped   int           `json:"skipped"`
	Loss      float64       `json:"loss"` // of all images, in nat, with the penalty
	Converged bool          `json:"converged"`
	HeldOut   int           `json:"held_out"`
	Accuracy  *float64      `json:"accuracy"` // of the images held out, by a head fitted to the others; null: none were held out
	Classes   []fittedClass `json:"classes"`
}

// fittedClass is a class of the head.
type fittedClass struct {
	Name    string `json:"name"`
	Images  int    `json:"images"`
	HeldOut int    `json:"held_out"`
	Right   int    `json:"right"` // of those held out
}

func (f *fitting) run(cmd *cobra.Command, from string, args []string) error {
	if err := f.use.check(); err != nil {
		return err
	}
	if err := f.config.Validate(); err != nil {
		return config.Usage(err)
	}
	if !(f.holdout >= 0 && f.holdout <= 0.9) {
		return config.Usagef("--holdout is %v; give 0 to 0.9", f.holdout)
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	b, key, name, err := headPlace(cmd, m, f.out)
	if err != nil {
		return err
	}
	set, err := openImages(cmd, args)
	if err != nil {
		return err
	}
	if len(set.Classes) < 2 {
		return config.Usagef("the images have %d classes, and a head needs two or more; put each class into a folder of its own",
			len(set.Classes))
	}
	features, skipped, err := f.collect(cmd, m, set)
	if err != nil {
		return err
	}
	head, summary, err := f.fit(m, features, set.Classes)
	if err != nil {
		return err
	}
	summary.Skipped = skipped
	summary.File = name
	if err := head.Save(cmd.Context(), b, key); err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(summary)
	}
	return summary.print(cmd.OutOrStdout())
}

// fit measures on held-out images, and fits the head to all.
func (f *fitting) fit(m *student.Model, features student.Features, classes []string) (*student.Head, *fitted, error) {
	s := &fitted{Student: m.Digest, Images: len(features.Labels), Classes: make([]fittedClass, len(classes))}
	for i, label := range features.Labels {
		if label < 0 {
			return nil, nil, config.Usagef("%s has no class; put each class into a folder of its own", features.Names[i])
		}
		s.Classes[label].Images++
	}
	for i, name := range classes {
		s.Classes[i].Name = name
	}
	if train, test := student.Holdout(features.Labels, f.holdout); len(test) > 0 {
		h, _, err := student.FitHead(m, features.Pick(train), classes, f.config, f.threads)
		if err != nil {
			return nil, nil, err
		}
		right := 0
		for _, i := range test {
			c := &s.Classes[features.Labels[i]]
			c.HeldOut++
			if student.Top(h.Classes, h.Probabilities(features.Row(i)), 1)[0].Class == c.Name {
				c.Right++
				right++
			}
		}
		share := float64(right) / float64(len(test))
		s.HeldOut, s.Accuracy = len(test), &share
	}
	h, p, err := student.FitHead(m, features, classes, f.config, f.threads)
	if err != nil {
		return nil, nil, err
	}
	s.Loss, s.Converged = p.Loss, p.Converged
	return h, s, nil
}

// headPlace is a file or URL, or the head's place beside the student.
func headPlace(cmd *cobra.Command, m *student.Model, out string) (b storage.Bucket, key, name string, err error) {
	if out == "" {
		return m.Folder, student.HeadFile, m.Folder.URL() + "/" + student.HeadFile, nil
	}
	b, key, err = openObject(cmd, out)
	return b, key, out, err
}

func (s *fitted) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "class\timages\theld out\tright\n")
	for _, c := range s.Classes {
		share := ""
		if c.HeldOut > 0 {
			share = fmt.Sprintf("%.1f%%", 100*float64(c.Right)/float64(c.HeldOut))
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", c.Name, c.Images, c.HeldOut, share)
	}
	err := t.Flush()
	if s.Accuracy != nil {
		fmt.Fprintf(w, "accuracy %.1f%% of %d images held out; then fitted to all %d\n", 100**s.Accuracy, s.HeldOut, s.Images)
	}
	if !s.Converged {
		fmt.Fprintln(w, "the fit has not converged; give it more --iterations")
	}
	_, last := fmt.Fprintf(w, "%s: %d classes%s\n", s.File, len(s.Classes), skippedText(s.Skipped))
	return errors.Join(err, last)
}
