// Worker carries lanes of a job: it runs the teacher, trains the student, and exchanges gradients with the other
// workers. This file and its neighbours are the command line only: they parse, wire and call.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/kernel"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "worker:", err)
	var wrong usageError
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	var kernels string
	root := &cobra.Command{
		Use:   "worker",
		Short: "Carry lanes of a job, and use the students that jobs make",
		Long: "Worker joins a coordinator and trains, and evaluates what was trained. Each flag can also be given as an\n" +
			"environment variable (PUPIL_THREADS for --threads) or in a YAML file named by --config or PUPIL_CONFIG.",
		Version:       version.Line(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Apply(cmd); err != nil {
				return usageError{err}
			}
			if err := kernel.Select(kernels); err != nil {
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
	root.PersistentFlags().StringVar(&kernels, "kernel", "auto", "kernels: auto (by the CPU's features), generic or avx2")
	root.AddCommand(joinCommand(), evalCommand())
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
