package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/checkpoint"
)

func checkpointsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoints",
		Short: "List, verify, prune and export the checkpoints of a run",
	}
	cmd.AddCommand(listCheckpoints(), verifyCheckpoints(), pruneCheckpoints(), exportCheckpoint())
	return cmd
}

const runArgument = "a run's folder or URL"

// checkpointLine is a checkpoint in a list.
type checkpointLine struct {
	Step     int                `json:"step"`
	State    string             `json:"state"` // finished, unfinished or damaged
	Reason   string             `json:"reason,omitempty"`
	Bytes    int64              `json:"bytes"`
	Modified time.Time          `json:"modified"`
	Version  int                `json:"version,omitempty"`
	Kernel   string             `json:"kernel,omitempty"`
	Code     string             `json:"code_version,omitempty"`
	Job      string             `json:"job,omitempty"`
	Dataset  string             `json:"dataset,omitempty"`
	Teacher  string             `json:"teacher,omitempty"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Parts    []checkpoint.Part  `json:"parts,omitempty"`
}

func lineOf(i checkpoint.Info) checkpointLine {
	l := checkpointLine{Step: i.Step, State: "finished", Reason: i.Fault, Bytes: i.Bytes, Modified: i.Modified.UTC()}
	switch {
	case !i.Finished:
		l.State = "unfinished"
	case i.Fault != "":
		l.State = "damaged"
	}
	if m := i.Manifest; m != nil {
		l.Version, l.Kernel, l.Code, l.Job, l.Dataset, l.Teacher = m.Version, m.Kernel, m.CodeVersion, m.Job, m.Dataset, m.Teacher
		l.Metrics, l.Parts = m.Metrics, m.Parts
	}
	return l
}

func listCheckpoints() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list RUN",
		Short: "List the checkpoints of a run, the newest first",
		Long: "List reads the manifests alone: a checkpoint that is called finished has all its files with the right sizes. verify\n" +
			"checks their hashes.",
		Args: config.Args(1, runArgument),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openPlace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			infos, err := checkpoint.List(cmd.Context(), b)
			if err != nil {
				return err
			}
			if len(infos) == 0 {
				if _, err := storage.ReadAll(cmd.Context(), b, wire.RecordName, 16<<20); errors.Is(err, storage.ErrNotFound) {
					return config.Usagef("there is no run in %s: %w", b.URL(), err)
				}
			}
			lines := []checkpointLine{}
			for _, i := range infos {
				lines = append(lines, lineOf(i))
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			printCheckpoints(cmd.OutOrStdout(), lines)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON, with digests, parts and metrics")
	return cmd
}

func printCheckpoints(w io.Writer, lines []checkpointLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "there are no checkpoints")
		return
	}
	t := newTable(w, "step", "state", "size", "saved", "loss", "")
	for _, l := range lines {
		loss := ""
		if v, ok := l.Metrics["loss"]; ok {
			loss = fmt.Sprintf("%.4f", v)
		}
		t.AppendRow(table.Row{l.Step, l.State, size(l.Bytes), l.Modified.Local().Format(time.DateTime), loss, l.Reason})
	}
	t.Render()
}

// verifiedLine is what verify found of a checkpoint.
type verifiedLine struct {
	Step   int    `json:"step"`
	Whole  bool   `json:"whole"`
	Parts  int    `json:"parts"`
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason,omitempty"` // why it is not whole
}

func verifyCheckpoints() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify RUN [STEP...]",
		Short: "Check every hash of a run's checkpoints",
		Long:  "Verify reads the named checkpoints, or all that are finished. Exit code 1 says that one is damaged.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return config.Usagef("%s needs %s", cmd.CommandPath(), runArgument)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openPlace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			steps, err := stepsOf(cmd, b, args[1:])
			if err != nil {
				return err
			}
			damaged := 0
			lines := []verifiedLine{}
			for _, step := range steps {
				m, err := checkpoint.Verify(cmd.Context(), b, step)
				if err != nil {
					damaged++
					lines = append(lines, verifiedLine{Step: step, Reason: err.Error()})
					fmt.Fprintln(cmd.ErrOrStderr(), err)
					continue
				}
				l := verifiedLine{Step: step, Whole: true, Parts: len(m.Parts)}
				for _, p := range m.Parts {
					l.Bytes += p.Size
				}
				if lines = append(lines, l); !asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "step %d is whole: %s, %s\n", step, count(l.Parts, "part"), size(l.Bytes))
				}
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), lines); err != nil {
					return err
				}
			}
			if damaged > 0 {
				return fmt.Errorf("%d of %s not whole; a run goes on from the newest that is", damaged, count(len(steps), "checkpoint"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was found of each as JSON on standard output")
	return cmd
}

// stepsOf are the steps that are named, or all finished ones.
func stepsOf(cmd *cobra.Command, b storage.Bucket, args []string) ([]int, error) {
	var steps []int
	for _, a := range args {
		step, err := strconv.Atoi(a)
		if err != nil || step < 0 {
			return nil, config.Usagef("%q is no step; give a number as `checkpoints list` shows it", a)
		}
		steps = append(steps, step)
	}
	if len(args) > 0 {
		return steps, nil
	}
	infos, err := checkpoint.List(cmd.Context(), b)
	if err != nil {
		return nil, err
	}
	for _, i := range infos {
		if i.Finished {
			steps = append(steps, i.Step)
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("there are no finished checkpoints in %s", b.URL())
	}
	return steps, nil
}

func pruneCheckpoints() *cobra.Command {
	r := checkpoint.Retention{}
	var dry bool
	cmd := &cobra.Command{
		Use:   "prune RUN",
		Short: "Delete checkpoints that nobody needs",
		Long: "Prune keeps the newest checkpoints, and those that other flags name, and deletes the rest, with what unfinished saves\n" +
			"left behind. The newest whole checkpoint always stays; without one nothing is deleted.",
		Example: "  coordinator checkpoints prune runs/one --keep 2 --keep-every 1000 --dry-run\n" +
			"  coordinator checkpoints prune s3://bucket/runs/one --keep-best 1 --metric loss",
		Args: config.Args(1, runArgument),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.Last < 1 || r.Every < 0 || r.Best < 0 || r.Grace < 0 || r.Best > 0 && r.Metric == "" {
				return config.Usagef("--keep must be at least 1, the other numbers not negative, and --keep-best needs --metric")
			}
			b, err := openPlace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			plan, err := checkpoint.Prune(cmd.Context(), b, r, time.Now(), dry)
			if err != nil {
				return err
			}
			verb := "deleted"
			if dry {
				verb = "would delete"
			}
			slices.SortFunc(plan, func(a, b checkpoint.Removal) int { return a.Step - b.Step })
			for _, x := range plan {
				what := "checkpoint"
				if !x.Whole {
					what = "leftovers"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s of step %d: %s\n", verb, what, x.Step, x.Reason)
			}
			if len(plan) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "there is nothing to delete")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&r.Last, "keep", 3, "newest checkpoints that stay")
	f.IntVar(&r.Every, "keep-every", 0, "keep those whose step is a multiple of this, too; 0: none")
	f.IntVar(&r.Best, "keep-best", 0, "keep so many with the best values of --metric, too")
	f.StringVar(&r.Metric, "metric", "", "metric of --keep-best, as `checkpoints list --json` shows them")
	f.BoolVar(&r.Largest, "largest", false, "the largest values of --metric are the best; else the smallest")
	f.DurationVar(&r.Grace, "grace", checkpoint.DefaultGrace, "files of a save that did not finish stay for so long; it may be under way")
	f.BoolVar(&dry, "dry-run", false, "only say what would be deleted")
	return cmd
}
