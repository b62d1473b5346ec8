package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"

	"pupil/coordinator/job"
	"pupil/coordinator/local"
	"pupil/internal/config"
)

func viewsCommand() *cobra.Command {
	var out, binary string
	var overrides []string
	var images, views int
	cmd := &cobra.Command{
		Use:   "views JOB.yaml",
		Short: "Draw what teacher and student of a job see",
		Long: "Views draws images of the job's training data as a PNG, one a row: the original, the teacher's views and the\n" +
			"student's views in the first epochs, as the job draws them.",
		Example: "  coordinator views deploy/examples/fashion.yaml --out views.png\n" +
			"  coordinator views job.yaml --images 12 --set views.strength=2",
		Args: config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := job.LoadWith(args[0], overrides); err != nil {
				return config.Usage(err)
			}
			path, err := local.WorkerBinary(binary)
			if err != nil {
				return config.Usage(err)
			}
			call := []string{
				"views", args[0], "--out", out, "--images", strconv.Itoa(images), "--views", strconv.Itoa(views),
			}
			for _, o := range overrides {
				call = append(call, "--set", o)
			}
			worker := exec.CommandContext(cmd.Context(), path, call...) // it has the networks and the augmentation
			worker.Env = local.WorkerEnvironment()
			worker.Stdout, worker.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := worker.Run(); err != nil {
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					return config.Exit(exit.ExitCode()) // it has said what is wrong
				}
				return fmt.Errorf("start %s: %w; --worker-binary says where the worker is", path, err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "views.png", "file to write, a PNG")
	cmd.Flags().IntVar(&images, "images", 8, "images, one a row")
	cmd.Flags().IntVar(&views, "views", 4, "views of the teacher, and of the student")
	cmd.Flags().StringArrayVar(&overrides, "set", nil, "override a key of the job, as in --set views.strength=2 (repeatable)")
	cmd.Flags().StringVar(&binary, "worker-binary", "", "the worker's executable (default: worker, beside this one)")
	return cmd
}
