package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"pupil/coordinator/job"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/worker/setup"
	"pupil/worker/student"
	"pupil/worker/student/images"
	"pupil/worker/student/measure"
	"pupil/worker/student/report"
)

// contender is a network that is measured.
type contender struct {
	role, from string
	model      *student.Model
}

// compareRun measures a run's student and teacher on the images of its job.
func (j *judgement) compareRun(cmd *cobra.Command, opened *setup.Job, trained storage.Bucket) error {
	test, err := opened.OpenTest(cmd.Context())
	if err != nil {
		return err
	}
	if test == nil {
		return config.Usagef("the run's job has no dataset.test; name images with --train and --test, and the run's folder student")
	}
	m, err := student.Load(cmd.Context(), trained)
	if err != nil {
		return err
	}
	all := []contender{{"student", trained.URL(), m}}
	switch {
	case j.teacher != "":
		t, err := openStudent(cmd, j.teacher)
		if err != nil {
			return err
		}
		all = append(all, contender{"teacher", j.teacher, t})
	case opened.Teacher != nil:
		t, err := student.NewModel(opened.Teacher, opened.TeacherState, opened.TeacherConfig)
		if err != nil {
			return err
		}
		all = append(all, contender{"teacher", opened.Spec.Teacher.Model, t})
	}
	if skip(opened.Spec) {
		j.broken = job.BrokenSkip
	}
	train := images.FromDataset(opened.Data, opened.Spec.Evaluate.Bank)
	return j.judge(cmd, opened.Spec.Name, all, train, images.FromDataset(test, 0))
}

// compare measures a student, and a teacher if there is one, on images of the user's.
func (j *judgement) compare(cmd *cobra.Command, from string) error {
	if len(j.train) == 0 || len(j.test) == 0 || slices.Contains(j.test, "-") {
		return config.Usagef("give both --train and --test, and neither on standard input")
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	all := []contender{{"student", from, m}}
	if j.teacher != "" {
		t, err := openStudent(cmd, j.teacher)
		if err != nil {
			return err
		}
		all = append(all, contender{"teacher", j.teacher, t})
	}
	train, err := openImages(cmd, j.train)
	if err != nil {
		return err
	}
	test, err := openImages(cmd, j.test)
	if err != nil {
		return err
	}
	return j.judge(cmd, from, all, train, test)
}

// judge measures networks on the same images and tells of it.
func (j *judgement) judge(cmd *cobra.Command, title string, all []contender, train, test *images.Set) error {
	r := report.Report{Title: title, Classes: train.Classes}
	if len(r.Classes) < 2 {
		return config.Usagef("the training images have %d classes; a comparison needs two or more", len(r.Classes))
	}
	for _, class := range test.Classes {
		if !slices.Contains(train.Classes, class) {
			return config.Usagef("the test images have the class %q, and the training images do not", class)
		}
	}
	test = test.As(train.Classes)
	for _, c := range all {
		n, err := j.measure(cmd, c, train, test, &r)
		if err != nil {
			return fmt.Errorf("%s: %w", c.role, err)
		}
		r.Networks = append(r.Networks, *n)
	}
	if j.html != "" {
		if err := writeWhole(j.html, func(w io.Writer) error { return r.HTML(w) }); err != nil {
			return err
		}
	}
	if j.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	if err := r.Text(cmd.OutOrStdout()); err != nil {
		return err
	}
	if j.html != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "\nthe page is %s\n", j.html)
	}
	return nil
}

func (j *judgement) measure(cmd *cobra.Command, c contender, train, test *images.Set, r *report.Report) (*report.Network, error) {
	n := report.Describe(c.role, c.from, c.model.Network)
	n.Config = c.model.Config.Config
	learn, left, err := j.collect(cmd, c.model, train)
	if err != nil {
		return nil, err
	}
	judged, also, err := j.collect(cmd, c.model, test)
	if err != nil {
		return nil, err
	}
	for _, f := range []student.Features{learn, judged} {
		if i := slices.Index(f.Labels, -1); i >= 0 {
			return nil, config.Usagef("%s has no class; put each class into a folder of its own", f.Names[i])
		}
	}
	r.Train, r.Test, r.Skipped = len(learn.Labels), len(judged.Labels), left+also
	n.Measures, err = measure.Of(learn, judged, measure.Config{
		Classes: train.Classes, Threads: j.threads, Own: slices.Equal(c.model.Config.Classes, train.Classes),
	})
	if err != nil || !j.corruptions {
		return &n, err
	}
	return &n, n.Measures.Robust(cmd.Context(), c.model, test, student.StreamConfig{
		Batch: j.batch, Threads: j.threads, SkipBroken: j.broken == job.BrokenSkip,
	})
}
