package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"pupil/coordinator/job"
	"pupil/internal/config"
)

func validateCommand() *cobra.Command {
	var overrides []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "validate JOB.yaml",
		Short:   "Check a job file; list all its faults with their lines",
		Example: "  coordinator validate deploy/examples/fashion.yaml\n  coordinator validate job.yaml --set lanes=16 --json",
		Args:    config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := job.LoadWith(args[0], overrides)
			if err != nil {
				return config.Usage(err)
			}
			for _, w := range spec.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(spec)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is a valid job (digest %.12s)\n", args[0], spec.Digest())
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&overrides, "set", nil, "override a key of the job, as in --set steps=40 (repeatable)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the job with all defaults as JSON")
	return cmd
}
