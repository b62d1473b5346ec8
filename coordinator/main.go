// Coordinator submits jobs, plans which worker carries which lanes, and keeps the job's state. This file and its
// neighbours are the command line only: they parse, wire and call.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/version"
)

// The exit codes, which scripts may rely on.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is wrong use of the command: flags, arguments, or a job file that is not valid.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run()) }

func run() int {
	err := rootCommand().ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "coordinator:", err)
	var wrong usageError
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "coordinator",
		Short: "Train a small image network from a large one, on this machine or a cluster",
		Long: "Coordinator runs Pupil's jobs: it shares a job's lanes among workers, watches them, and keeps what the job\n" +
			"has reached. Each flag can also be given as an environment variable (PUPIL_WORKERS for --workers) or in a\n" +
			"YAML file named by --config or PUPIL_CONFIG.",
		Version:       version.Line(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Apply(cmd); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	config.AddFlags(root)
	root.AddCommand(runCommand(), validateCommand(), dataCommand())
	return root
}

// exactly checks the number of arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}
