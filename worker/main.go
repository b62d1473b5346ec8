// Worker carries lanes of a job: it runs the teacher, trains the student, and exchanges gradients with the other
// workers. This file and its neighbours are the command line only: they parse, wire and call.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/kernel"
)

func main() {
	var kernels string
	root := &cobra.Command{
		Use:   "worker",
		Short: "Carry lanes of a job, and use the students that jobs make",
		Long: "Worker joins a coordinator and trains, and evaluates what was trained. Each flag can also be given as an\n" +
			"environment variable (PUPIL_THREADS for --threads) or in a YAML file named by --config or PUPIL_CONFIG.",
	}
	root.PersistentFlags().StringVar(&kernels, "kernel", "auto", "kernels: auto (by the CPU's features), generic, avx2 or avx512")
	root.AddCommand(commands()...)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := config.Execute(ctx, root, func() error { return config.Usage(kernel.Select(kernels)) })
	stop()
	os.Exit(code)
}

func commands() []*cobra.Command {
	return []*cobra.Command{
		joinCommand(), evalCommand(), viewsCommand(), inspectCommand(), extractCommand(), fitHeadCommand(), classifyCommand(),
		enrollCommand(), identifyCommand(), exportCommand(), verifyCommand(), serveCommand(),
	}
}
