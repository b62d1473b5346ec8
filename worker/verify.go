package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/worker/student"
)

func verifyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify RUN|STUDENT",
		Short: "Check the SHA-256 of a student's weights, and show what made them",
		Long: "Verify computes the SHA-256 of a student's weights from its files, and compares it with what config.json, the\n" +
			"metadata of model.safetensors and the summary.json of its run say. It ends with exit code 1 when they disagree.\n\n" +
			"The SHA-256 is that of model.safetensors followed by prior.safetensors, both without their metadata: the one with\n" +
			"which a run ends. Students of older versions say nothing of it themselves; of these name the RUN.",
		Example: "  worker verify runs/one\n" +
			"  worker verify s3://models/student --json",
		Args: config.Args(1, "the folder of a run or of a student"),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := verify(cmd, args[0])
			if v == nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return errors.Join(json.NewEncoder(out).Encode(v), err)
			}
			printVerified(out, v)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verify tells a run and a student's folder apart. What it has found is not nil where files disagree, either.
func verify(cmd *cobra.Command, from string) (*student.Verified, error) {
	url, err := location.FromPath(from)
	if err != nil {
		return nil, config.Usage(err)
	}
	folder, err := location.Open(cmd.Context(), url)
	if err != nil {
		return nil, config.Usage(err)
	}
	var run storage.Bucket
	_, err = storage.ReadAll(cmd.Context(), folder, wire.RecordName, 16<<20)
	switch {
	case err == nil:
		run, folder = folder, storage.Prefix(folder, wire.StudentFolder)
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	v, err := student.Verify(cmd.Context(), folder, run)
	switch {
	case errors.Is(err, storage.ErrNotFound) && run != nil:
		return nil, fmt.Errorf("%s has no whole student: its training has not finished, or a file is missing (%w)", from, err)
	case errors.Is(err, storage.ErrNotFound):
		return nil, config.Usagef("%s is neither a run nor a student's folder: %w", from, err)
	case errors.Is(err, student.ErrAltered) && run == nil:
		return v, fmt.Errorf("%s: %w; take all its files once more from the run that made it", from, err)
	case err != nil:
		return v, fmt.Errorf("%s: %w", from, err)
	}
	return v, nil
}

func printVerified(w io.Writer, v *student.Verified) {
	said := "nothing beside it says what it should be"
	if len(v.Agreed) > 0 {
		said = "as said by " + strings.Join(v.Agreed, ", ")
	}
	row := func(name string, value any) { fmt.Fprintf(w, "%-15s %v\n", name, value) }
	row("weights_sha256", v.Weights)
	if len(v.Faults) == 0 {
		row("", said)
	}
	for _, f := range v.Faults {
		row("fault", f)
	}
	p := v.Provenance
	if p == nil {
		row("provenance", "config.json names none")
		return
	}
	row("job", p.Job)
	row("dataset", p.Dataset)
	if p.Teacher != "" {
		row("teacher", p.Teacher)
	}
	row("step", p.Step)
	row("seed", p.Seed)
	row("moving average", map[bool]string{true: "yes", false: "no, the raw weights"}[p.Average])
	row("kernel", p.Kernel)
	row("code version", p.CodeVersion)
}
