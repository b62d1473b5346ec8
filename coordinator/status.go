package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/coordinator/wire"
	"pupil/internal/config"
)

func listCommand() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the jobs of a cluster",
		Example: "  coordinator list\n  coordinator list --json",
		Args:    config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(func(c *api.Client) error {
				runs, err := c.Runs(cmd.Context())
				switch {
				case err != nil:
					return err
				case f.json:
					return printJSON(cmd.OutOrStdout(), runs)
				case len(runs) == 0:
					_, err = fmt.Fprintln(cmd.OutOrStdout(), "no job was submitted yet")
					return err
				}
				return printRuns(cmd.OutOrStdout(), runs)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func statusCommand() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Show where a cluster, or one of its jobs, stands",
		Long: "Status shows the jobs and the workers of a cluster; with the name of a run, that run: its phase, step, rate and\n" +
			"estimated end, and each worker with its lanes and where its last step's time went. A worker that holds up the others\n" +
			"is named, with the cause.",
		Example: "  coordinator status\n  coordinator status faces-1 --json",
		Args:    atMostOne("the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(func(c *api.Client) error {
				if len(args) == 1 {
					d, err := c.Run(cmd.Context(), args[0])
					switch {
					case err != nil:
						return err
					case f.json:
						return printJSON(cmd.OutOrStdout(), d)
					}
					return printRun(cmd.OutOrStdout(), &d.Run)
				}
				s, err := c.Status(cmd.Context())
				switch {
				case err != nil:
					return err
				case f.json:
					return printJSON(cmd.OutOrStdout(), s)
				}
				return printStatus(cmd.OutOrStdout(), s)
			})
		},
	}
	f.add(cmd)
	return cmd
}

// atMostOne demands no argument or one, which what describes.
func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return config.Usagef("%s takes %s at most; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

func printRuns(w io.Writer, runs []api.Run) error {
	t := newTable(w, "run", "phase", "step", "workers", "images/s", "ETA", "reason")
	for _, r := range runs {
		t.AppendRow(table.Row{r.Run, r.Phase, steps(&r), len(r.Workers), rate(&r), eta(&r), r.Reason})
	}
	t.Render()
	return nil
}

func printStatus(w io.Writer, s *api.Status) error {
	fmt.Fprintf(w, "leader %s\n\n", s.Leader)
	if len(s.Runs) > 0 {
		if err := printRuns(w, s.Runs); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if len(s.Workers) == 0 {
		_, err := fmt.Fprintln(w, "no worker has joined; start some with worker join")
		return err
	}
	printWorkers(w, s.Workers, s.Time)
	return nil
}

func printRun(w io.Writer, r *api.Run) error {
	t := newTable(w)
	row := func(name string, value any) { t.AppendRow(table.Row{name, value}) }
	row("run", r.Run)
	row("phase", r.Phase)
	if r.Reason != "" {
		row("reason", r.Reason)
	}
	row("step", steps(r))
	if r.ImagesPerSecond > 0 {
		row("images/s", rate(r))
		row("ETA", eta(r))
	}
	if r.StepSeconds > 0 {
		row("loss", fmt.Sprintf("%.4f", r.Loss))
		row("mutual information", fmt.Sprintf("%.3f nat", r.MutualInformation))
	}
	row("generation", r.Generation)
	if n := len(r.Checkpoints); n > 0 {
		row("newest checkpoint", fmt.Sprintf("step %d", r.Checkpoints[n-1]))
	}
	if r.Slow != nil {
		row("slow", fmt.Sprintf("worker %s (rank %d): %s", r.Slow.Worker, r.Slow.Rank, r.Slow.Cause))
	}
	if r.Weights != "" {
		row("SHA-256 of the weights", r.Weights)
	}
	row("storage", r.Storage)
	t.Render()
	if len(r.Workers) > 0 {
		fmt.Fprintln(w)
		printWorkers(w, r.Workers, time.Time{})
	}
	return nil
}

// printWorkers lists workers; with the time, also how long ago each was heard.
func printWorkers(w io.Writer, workers []api.Worker, now time.Time) {
	header := []any{"worker", "host", "rank", "lanes", "activity", "step", "compute", "wait", "send", "left", "add", "hidden"}
	if !now.IsZero() {
		header = append(header, "run", "heard")
	}
	t := newTable(w, header...)
	for _, x := range workers {
		rank := ""
		if x.Rank >= 0 {
			rank = fmt.Sprint(x.Rank)
		}
		row := table.Row{x.ID, x.Host, rank, ranges(x.Lanes), x.Activity, x.Step, seconds(x.Compute), seconds(x.Wait), seconds(x.Send), seconds(x.Left), seconds(x.Add), ""}
		if x.Under > 0 {
			row[len(row)-1] = fmt.Sprintf("%.0f%%", 100*x.Hidden)
		}
		if !now.IsZero() {
			row = append(row, x.Run, now.Sub(x.Heard).Round(time.Second/10).String()+" ago")
		}
		t.AppendRow(row)
	}
	t.Render()
}

func seconds(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f ms", v*1000)
}

func steps(r *api.Run) string {
	if r.Total == 0 {
		return fmt.Sprint(r.Step)
	}
	return fmt.Sprintf("%d of %d", r.Step, r.Total)
}

func rate(r *api.Run) string {
	if r.ImagesPerSecond == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", r.ImagesPerSecond)
}

func eta(r *api.Run) string {
	if r.ImagesPerSecond == 0 {
		return ""
	}
	return time.Duration(r.ETASeconds * float64(time.Second)).Round(time.Second).String()
}

// ranges writes lanes as 0-3,7.
func ranges(lanes []int) string {
	var parts []string
	for i := 0; i < len(lanes); {
		j := i
		for j+1 < len(lanes) && lanes[j+1] == lanes[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(lanes[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", lanes[i], lanes[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// newest is a run's newest step as a worker has told it.
func newest(r *api.Run) wire.Report {
	return wire.Report{
		Step: r.Step, Total: r.Total, Loss: r.Loss, MutualInformation: r.MutualInformation, Seconds: r.StepSeconds,
		Images: int(r.ImagesPerSecond*r.StepSeconds + 0.5),
	}
}
