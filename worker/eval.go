package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/student"
)

// judgement is what the command was asked.
type judgement struct {
	use
	full, corruptions bool
	html, teacher     string
	train, test       []string
	life              func(context.Context, *cobra.Command) context.Context
}

func evalCommand() *cobra.Command {
	var j judgement
	cmd := &cobra.Command{
		Use:   "eval RUN|STUDENT",
		Short: "Measure how good a student's features are, beside its teacher's",
		Long: "Eval of a finished run's folder or URL computes how well pooled features tell the classes of the held-out images\n" +
			"of the run's job apart, by their nearest neighbours (k-NN) and by a linear classifier (linear probe): the\n" +
			"teacher's, those of the student before its first step, and the trained student's.\n\n" +
			"With --full or --html, and for the folder of a STUDENT with images of your own (--train to learn from, --test to\n" +
			"judge), student and teacher are compared by k-NN for several k, linear probe, own classifier, confusions,\n" +
			"retrieval, verification of pairs, clusters, and under rotation, occlusion and brightness at five strengths.\n" +
			"--html writes a page with plots that can be looked at offline.\n\n" +
			"IMAGES are folders with a folder for each class, packed datasets, or URLs of these.",
		Example: "  worker eval runs/fashion-20260102-150405 --json\n" +
			"  worker eval runs/fashion-20260102-150405 --html report.html\n" +
			"  worker eval runs/one/student --train photos/ --test held-out/ --teacher models/resnet50 --html report.html",
		Args: config.Args(1, "the folder of a run or of a student"),
		RunE: func(cmd *cobra.Command, args []string) error { return j.run(cmd, args[0]) },
	}
	j.life = endWithStdin(cmd)
	j.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&j.full, "full", false, "measure everything, of a run too")
	f.BoolVar(&j.corruptions, "corruptions", true, "of everything, also what is left under corruptions")
	f.StringVar(&j.html, "html", "", "file to write a page with plots to")
	f.StringArrayVar(&j.train, "train", nil, "labelled images that classifiers learn from (repeatable)")
	f.StringArrayVar(&j.test, "test", nil, "labelled images that are judged (repeatable)")
	f.StringVar(&j.teacher, "teacher", "", "folder or URL of a teacher to compare with (default: the run's)")
	return cmd
}

func (j *judgement) run(cmd *cobra.Command, from string) error {
	if err := j.use.check(); err != nil {
		return err
	}
	if j.html != "" && !isFolder(filepath.Dir(j.html)) {
		return config.Usagef("--html is %q, and there is no folder %s; make it, or give another", j.html, filepath.Dir(j.html))
	}
	cmd.SetContext(j.life(cmd.Context(), cmd))
	url, err := location.FromPath(from)
	if err != nil {
		return config.Usage(err)
	}
	folder, err := location.Open(cmd.Context(), url)
	if err != nil {
		return config.Usage(err)
	}
	data, err := storage.ReadAll(cmd.Context(), folder, wire.RecordName, 16<<20)
	switch {
	case errors.Is(err, storage.ErrNotFound) && len(j.train)+len(j.test) > 0:
		return j.compare(cmd, from)
	case errors.Is(err, storage.ErrNotFound):
		return config.Usagef("%s is no run: %w; of a student's folder, name images with --train and --test", from, err)
	case err != nil:
		return err
	case len(j.train)+len(j.test) > 0:
		return config.Usagef("%s is a run, whose job names the images; leave out --train and --test, or name the folder %s/%s",
			from, from, wire.StudentFolder)
	}
	record, err := wire.DecodeRecord(data)
	if err != nil {
		return config.Usagef("%s in %s: %w", wire.RecordName, from, err)
	}
	trained := storage.Prefix(folder, wire.StudentFolder)
	if _, err := storage.ReadAll(cmd.Context(), trained, nn.ConfigFile, 1<<20); errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%s has no student yet: its training has not finished (%w); go on with it by --resume, then ask again", from, err)
	}
	opened, err := setup.Open(cmd.Context(), record.Spec)
	if err != nil {
		return err
	}
	if j.full || j.html != "" {
		return j.compareRun(cmd, opened, trained)
	}
	report, err := student.Evaluate(cmd.Context(), opened, trained, j.threads)
	if err != nil {
		return err
	}
	if j.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
	}
	printReport(cmd.OutOrStdout(), report)
	return nil
}

func printReport(w io.Writer, r *student.Report) {
	for _, m := range []struct {
		name  string
		value *float64
	}{
		{"k-NN accuracy, teacher", r.KNN.Teacher},
		{"k-NN accuracy, untrained student", r.KNN.Untrained},
		{"k-NN accuracy, trained student", r.KNN.Student},
		{"linear probe, teacher", r.Probe.Teacher},
		{"linear probe, untrained student", r.Probe.Untrained},
		{"linear probe, trained student", r.Probe.Student},
		{"accuracy of the student's logits", r.Accuracy},
	} {
		if m.value != nil {
			fmt.Fprintf(w, "%-34s %5.1f%%\n", m.name, 100**m.value)
		}
	}
}

// skip says whether a job leaves broken images out.
func skip(spec *job.Spec) bool { return spec.Dataset.Broken == job.BrokenSkip }
