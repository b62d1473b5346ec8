// Coordinator submits jobs, plans which worker carries which lanes, and keeps the job's state. This file and its
// neighbours are the command line only: they parse, wire and call.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

func main() {
	root := &cobra.Command{
		Use:   "coordinator",
		Short: "Train a small image network from a large one, on this machine or a cluster",
		Long: "Coordinator runs Pupil's jobs: it shares a job's lanes among workers, watches them, and keeps what the job\n" +
			"has reached. Each flag can also be given as an environment variable (PUPIL_WORKERS for --workers) or in a\n" +
			"YAML file named by --config or PUPIL_CONFIG.",
	}
	root.AddCommand(runCommand(), validateCommand(), viewsCommand(), dataCommand(), checkpointsCommand())
	root.AddCommand(serveCommand(), brokerCommand(), submitCommand(), listCommand(), statusCommand(), watchCommand(),
		cancelCommand(), eventsCommand(), auditCommand(), membersCommand(), chaosCommand(), certsCommand(), tokensCommand(),
		topCommand(), diagnoseCommand())
	os.Exit(config.Execute(context.Background(), root, nil))
}
