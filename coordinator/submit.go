package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/local"
	"pupil/internal/config"
	"pupil/storage/location"
)

type submitFlags struct {
	clientFlags
	run, storage        string
	minWorkers, workers int
	maxWorkers          int
	set                 []string
	resume, wait        bool
}

func submitCommand() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use:   "submit JOB.yaml",
		Short: "Give a job to a cluster",
		Long: "Submit checks a job and gives it to a cluster, which runs it when its workers are there. Jobs run side by side when\n" +
			"there are workers enough: the first takes as many as it has lanes, or --max-workers, the next what is left. The\n" +
			"job's data, its models and --storage must be where all workers find them: a folder that all hosts share, or s3://.\n\n" +
			"To submit again under the same --run changes nothing, so a script may repeat it. --wait shows the progress until the\n" +
			"job has ended. Exit codes: 0 it is taken in (with --wait: done), 1 it failed or was stopped, 2 wrong use.",
		Example: "  coordinator submit job.yaml\n" +
			"  coordinator submit job.yaml --run faces-1 --min-workers 2 --storage s3://bucket/faces-1 --wait\n" +
			"  coordinator submit job.yaml --run faces-1 --resume --wait   # after it failed or was cancelled",
		Args: config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error { return submit(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.run, "run", "", "name of the run, unique in the cluster (default: NAME-DATE-TIME)")
	flags.StringVar(&f.storage, "storage", "", "URL or folder of the run's checkpoints and results (default: below the coordinators' --storage)")
	flags.IntVar(&f.minWorkers, "min-workers", 1, "with fewer workers the run waits")
	flags.IntVar(&f.workers, "workers", 0, "workers that the run waits for at its beginning, a minute at most (default: --min-workers)")
	flags.IntVar(&f.maxWorkers, "max-workers", 0, "workers that the run takes at most; the others are for later runs (default: as many as it has lanes)")
	flags.StringArrayVar(&f.set, "set", nil, "override a key of the job, as in --set steps=40 (repeatable)")
	flags.BoolVar(&f.resume, "resume", false, "go on with a run that failed or was stopped, or with what is in --storage")
	flags.BoolVar(&f.wait, "wait", false, "show the progress, and end when the run has ended")
	f.add(cmd)
	return cmd
}

func submit(cmd *cobra.Command, file string, f submitFlags) error {
	spec, err := job.LoadWith(file, f.set)
	if err != nil {
		return config.Usage(err)
	}
	if f.minWorkers < 1 || f.workers < 0 || f.maxWorkers < 0 {
		return config.Usagef("--min-workers is %d, --workers %d and --max-workers %d; they must be at least 1, 0 and 0", f.minWorkers,
			f.workers, f.maxWorkers)
	}
	if most := max(f.minWorkers, f.workers); f.maxWorkers > 0 && f.maxWorkers < most {
		return config.Usagef("--max-workers is %d; it must be at least the %d workers that the run asks for", f.maxWorkers, most)
	}
	if f.resume && f.run == "" {
		return config.Usagef("--resume needs the name of the run: --run NAME; coordinator list shows the names")
	}
	if f.run == "" {
		f.run = spec.Name + "-" + time.Now().Format("20060102-150405")
	}
	if f.storage != "" {
		if f.storage, err = location.FromPath(f.storage); err != nil {
			return config.Usagef("--storage: %w", err)
		}
	}
	for _, w := range spec.Warnings() {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
	}
	if f.token == "" { // a coordinator that is just being started draws the token
		logger, err := config.Logger(cmd)
		if err != nil {
			return err
		}
		config.Await(cmd.Context(), f.tokenFile, logger)
	}
	return f.use(func(c *api.Client) error {
		r, err := c.Submit(cmd.Context(), api.Submission{
			Run: f.run, Spec: spec, Storage: f.storage, MinWorkers: f.minWorkers, Workers: f.workers,
			MaxWorkers: f.maxWorkers, Resume: f.resume,
		})
		if err != nil {
			return err
		}
		if f.wait {
			return follow(cmd, c, r.Run, f.json)
		}
		if f.json {
			return printJSON(cmd.OutOrStdout(), r)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; its results go to %s\n", r.Run, r.Phase, r.Storage)
		return err
	})
}

// errOver ends a watch.
var errOver = errors.New("the run is over")

// follow shows a run's progress until it is over. Interrupted, it leaves the run alone.
func follow(cmd *cobra.Command, c *api.Client, name string, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	messages := cmd.ErrOrStderr()
	display := local.NewDisplay(messages, isTerminal(messages))
	defer display.Close()
	last, err := progress(ctx, c, name, display)
	display.Close()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no longer watching; the run goes on: coordinator watch %s, or coordinator cancel %s", name, name)
	case err != nil:
		return err
	}
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), last); err != nil {
			return err
		}
	} else if err := printRun(cmd.OutOrStdout(), last); err != nil {
		return err
	}
	if last.Phase != cluster.Finished {
		return fmt.Errorf("run %s %s after step %d: %s", name, last.Phase, last.Step, last.Reason)
	}
	return nil
}

// progress shows a run until it is over, and returns how it stands then.
func progress(ctx context.Context, c *api.Client, name string, display local.Display) (*api.Run, error) {
	var last *api.Run
	said, step := "", 0
	err := c.Watch(ctx, func(s *api.Status) error {
		last = find(s.Runs, name)
		if last == nil {
			return config.Usagef("there is no run %s; coordinator list shows those that are there", name)
		}
		text := fmt.Sprintf("%s is %s", name, last.Phase)
		if last.Reason != "" {
			text += ": " + last.Reason
		}
		if text != said {
			said = text
			display.Notice(text)
		}
		if last.Phase.Over() {
			return errOver
		}
		if last.StepSeconds > 0 && last.Step > step {
			step = last.Step
			display.Progress(newest(last))
		}
		return nil
	})
	if !errors.Is(err, errOver) {
		return nil, err
	}
	return last, nil
}

func find(runs []api.Run, name string) *api.Run {
	for i := range runs {
		if runs[i].Run == name {
			return &runs[i]
		}
	}
	return nil
}
