package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/safetensors"
)

func exportCheckpoint() *cobra.Command {
	return &cobra.Command{
		Use:   "export RUN STEP DEST",
		Short: "Copy a checkpoint, verified, out of a run",
		Long: "Export writes the parts of a checkpoint as safetensors files into DEST, a folder or a URL, with its manifest. STEP can be\n" +
			"`latest`: the newest whole one. The folder student in it is one that `worker` takes: model.safetensors, the raw weights by\n" +
			"torchvision's names, and config.json, both with what made them: digests of job, dataset and teacher, step, seed, kernel,\n" +
			"version, and the weights' SHA-256, which `worker verify` checks.",
		Example: "  coordinator checkpoints export s3://bucket/runs/one latest here/",
		Args:    config.Args(3, "a run, a step (or latest) and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openPlace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var step int
			if args[1] == "latest" {
				m, passed, err := checkpoint.Latest(cmd.Context(), b)
				for _, f := range passed {
					fmt.Fprintf(cmd.ErrOrStderr(), "checkpoint of step %d is passed over: %s\n", f.Step, f.Reason)
				}
				if err != nil {
					return err
				}
				step = m.Step
			} else {
				steps, err := stepsOf(cmd, b, args[1:2])
				if err != nil {
					return err
				}
				step = steps[0]
			}
			to, err := openPlace(cmd.Context(), args[2])
			if err != nil {
				return err
			}
			if err := checkpoint.Export(cmd.Context(), b, step, to); err != nil {
				return err
			}
			described, err := exportStudent(cmd.Context(), to)
			if err != nil {
				return err
			}
			if !described {
				fmt.Fprintf(cmd.ErrOrStderr(), "the checkpoint is of an older version: there is no config.json, and the weights do not say what made them\n")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "step %d is in %s\n", step, to.URL())
			return nil
		},
	}
}

// exportStudent makes of an exported checkpoint's student a folder that can be used. It returns false when the student does
// not describe itself, as those of older versions.
func exportStudent(ctx context.Context, to storage.Bucket) (bool, error) {
	f, err := safetensors.Get(ctx, to, "student.safetensors")
	if err != nil {
		return false, err
	}
	text, ok := f.Metadata[wire.ConfigMetadata]
	if !ok {
		return false, nil
	}
	folder := storage.Prefix(to, wire.StudentFolder)
	prior, err := storage.ReadAll(ctx, to, "prior.safetensors", math.MaxInt64-1)
	if err == nil {
		err = storage.WriteAll(ctx, folder, "prior.safetensors", prior)
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	if err := safetensors.Put(ctx, folder, "model.safetensors", f); err != nil {
		return false, err
	}
	return true, storage.WriteAll(ctx, folder, "config.json", []byte(text))
}
