package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/worker/setup"
	"pupil/worker/student"
)

func evalCommand() *cobra.Command {
	var threads int
	var asJSON bool
	var life func(*cobra.Command) context.Context
	cmd := &cobra.Command{
		Use:   "eval RUN",
		Short: "Measure a finished run's student, and its teacher, on the held-out images",
		Long: "Eval computes how well pooled features tell the classes of the held-out images of the run's job apart, by their\n" +
			"nearest neighbours (k-NN) and by a linear classifier (linear probe): the teacher's, those of the student before\n" +
			"its first step, and the trained student's. RUN is the folder or URL of a run.",
		Example: "  worker eval runs/fashion-20260102-150405 --json",
		Args:    config.Args(1, "the folder of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := life(cmd)
			if threads < 1 {
				return config.Usagef("--threads is %d; it must be at least 1", threads)
			}
			url, err := location.FromPath(args[0])
			if err != nil {
				return config.Usage(err)
			}
			run, err := location.Open(ctx, url)
			if err != nil {
				return config.Usage(err)
			}
			data, err := storage.ReadAll(ctx, run, wire.RecordName, 16<<20)
			if err != nil {
				return fmt.Errorf("%s is no run: %w", args[0], err)
			}
			record, err := wire.DecodeRecord(data)
			if err != nil {
				return fmt.Errorf("%s in %s: %w", wire.RecordName, args[0], err)
			}
			j, err := setup.Open(ctx, record.Spec)
			if err != nil {
				return err
			}
			report, err := student.Evaluate(ctx, j, storage.Prefix(run, wire.StudentFolder), threads)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
			}
			for _, m := range []struct {
				name  string
				value *float64
			}{
				{"k-NN accuracy, teacher", report.KNN.Teacher},
				{"k-NN accuracy, untrained student", report.KNN.Untrained},
				{"k-NN accuracy, trained student", report.KNN.Student},
				{"linear probe, teacher", report.Probe.Teacher},
				{"linear probe, untrained student", report.Probe.Untrained},
				{"linear probe, trained student", report.Probe.Student},
				{"accuracy of the student's logits", report.Accuracy},
			} {
				if m.value != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%-34s %5.1f%%\n", m.name, 100**m.value)
				}
			}
			return nil
		},
	}
	life = endWithStdin(cmd)
	cmd.Flags().IntVar(&threads, "threads", runtime.NumCPU(), "batches that are computed at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
