package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pupil/coordinator/job"
	"pupil/coordinator/local"
	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/internal/tracing"
	"pupil/internal/version"
	"pupil/storage/diskcache"
)

type runFlags struct {
	workers, threads int
	least, respawn   int
	storage, worker  string
	dataPlane, page  string
	cache, cacheSize string
	set              []string
	json, resume     bool
	traces           tracing.Config
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run JOB.yaml",
		Short: "Run a whole job on this machine",
		Long: "Run starts a broker, a coordinator and worker processes on this machine, trains the student of a job, and\n" +
			"evaluates it on the held-out images. The weights do not depend on --workers or --threads.\n\n" +
			"A worker that dies or is killed does no harm: the others compute its part of the step again and go on, and a\n" +
			"new process takes its place, --respawn times each. `worker join` adds one; SIGTERM lets one leave.\n\n" +
			"Ctrl-C finishes the step and saves a checkpoint, as do SIGTERM and the loss of the terminal; a second one ends at\n" +
			"once. --resume goes on, also after a failure or a kill, and with another number of workers.\n\n" +
			"Exit codes: 0 the job is done, 1 it failed or was stopped, 2 wrong use.",
		Example: "  coordinator run deploy/examples/fashion.yaml --workers 2\n" +
			"  coordinator run job.yaml --teacher-cache ~/.cache/pupil/teacher --set optimizer.learning_rate=0.02\n" +
			"  coordinator run job.yaml --workers 4 --set steps=40 --set seed=3 --json\n" +
			"  coordinator run job.yaml --workers 4 --data-plane mesh\n" +
			"  coordinator run job.yaml --workers 2 --page 127.0.0.1:0\n" +
			"  coordinator run job.yaml --workers 3 --storage runs/one --resume",
		Args: config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error { return runJob(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.workers, "workers", 1, "worker processes")
	flags.IntVar(&f.threads, "threads", 0, "lanes that a worker computes at the same time (default: the cores, shared among the workers)")
	flags.IntVar(&f.least, "min-workers", 1, "with fewer workers the job waits for others")
	flags.IntVar(&f.respawn, "respawn", 3, "how often a worker's process that has died is started again, each")
	flags.StringVar(&f.storage, "storage", "", "folder or URL (file://, s3://) of the run (default: a new folder runs/NAME-DATE-TIME)")
	flags.StringArrayVar(&f.set, "set", nil, "override a key of the job, as in --set steps=40 (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON on standard output; everything else goes to standard error")
	flags.BoolVar(&f.resume, "resume", false, "go on with the run in --storage, or with the newest one of this job below runs/")
	flags.StringVar(&f.worker, "worker-binary", "", "the worker's executable (default: worker, beside this one)")
	flags.StringVar(&f.page, "page", "", "show the run on a web page at this address of this machine, host:port (127.0.0.1:0: a free port);\nits URL, with a token, is printed")
	flags.StringVar(&f.dataPlane, "data-plane", string(wire.LocalPlane), "which way the workers' sums go: local (straight to a NATS server in each worker), mesh (the same with TLS,\nas between machines) or broker (all through the coordinator's NATS server)")
	flags.StringVar(&f.cache, "teacher-cache", "", "folder that keeps the teacher's outputs for other runs with the same seed, data and views\nof the teacher (default: none)")
	flags.StringVar(&f.cacheSize, "teacher-cache-size", "", "limit of --teacher-cache, as 500MB or 20GB (default: 10GB)")
	addTracing(cmd, &f.traces)
	return cmd
}

func runJob(cmd *cobra.Command, file string, f runFlags) error {
	const most = 64
	if f.workers < 1 || f.workers > most {
		return config.Usagef("--workers is %d; it must be 1 to %d", f.workers, most)
	}
	if f.least < 1 || f.least > f.workers {
		return config.Usagef("--min-workers is %d; it must be 1 to the number of --workers, %d", f.least, f.workers)
	}
	if f.respawn < 0 {
		return config.Usagef("--respawn is %d; it must not be negative", f.respawn)
	}
	if f.threads < 0 {
		return config.Usagef("--threads is %d; it must not be negative", f.threads)
	}
	if err := wire.DataPlane(f.dataPlane).Validate(); err != nil {
		return config.Usagef("--data-plane: %v", err)
	}
	if f.dataPlane == string(wire.AutoPlane) {
		return config.Usagef("--data-plane: auto is for coordinator serve, which does not start the workers; give local, mesh or broker")
	}
	if err := f.checkCache(); err != nil {
		return config.Usage(err)
	}
	if err := f.traces.Validate(); err != nil {
		return config.Usage(err)
	}
	if f.threads == 0 {
		f.threads = max(1, runtime.NumCPU()/f.workers)
	}
	spec, err := job.LoadWith(file, f.set)
	if err != nil {
		return config.Usage(err)
	}
	level := cmd.Flags().Lookup("log-level")
	given := level.Value.String()
	if !level.Changed { // the display tells what a user wants to know; the workers' logs are files
		if err := level.Value.Set("warn"); err != nil {
			return err
		}
	}
	logger, err := config.Logger(cmd)
	if err != nil {
		return config.Usage(err)
	}
	messages := cmd.ErrOrStderr()
	display := local.NewDisplay(messages, isTerminal(messages))
	defer display.Close()
	for _, w := range spec.Warnings() {
		display.Notice("warning: " + w)
	}
	config.OutlivePipes()
	ctx, stop := interrupts(cmd.Context())
	summary, err := local.Run(ctx, local.Config{
		Spec: spec, Program: os.Args[0], LogLevel: given, JobFile: file, Overrides: f.set, Storage: f.storage, Resume: f.resume, Workers: f.workers,
		MinWorkers: f.least, Respawn: f.respawn, Threads: f.threads, DataPlane: wire.DataPlane(f.dataPlane), Page: f.page,
		WorkerBinary: f.worker, TeacherCache: f.cache, TeacherCacheSize: f.cacheSize, TraceURL: f.traces.URL, TraceEvery: f.traces.Every,
		Version: version.String(), Display: display, Logger: logger,
	}, stop)
	if errors.Is(err, local.ErrUsage) {
		return config.Usage(err)
	}
	if summary == nil {
		return err
	}
	if summary.Steps == 0 && summary.Resume != "" {
		return fmt.Errorf("stopped before the first step; begin again with: %s", summary.Resume)
	}
	show := printSummary
	if f.json {
		show = func(w io.Writer, s *local.Summary) error { return printJSON(w, s) }
	}
	if e := show(cmd.OutOrStdout(), summary); e != nil {
		return errors.Join(err, fmt.Errorf("write the result: %w; --resume shows it again", e))
	}
	if err == nil && summary.Resume != "" {
		return fmt.Errorf("stopped after step %d of %d, which is saved; go on with: %s", summary.Steps, summary.TotalSteps, summary.Resume)
	}
	return err
}

// checkCache checks the flags of the cache of the teacher's outputs, whose folder it makes.
func (f *runFlags) checkCache() (err error) {
	if f.cache == "" {
		if f.cacheSize != "" {
			return errors.New("--teacher-cache-size is given without --teacher-cache, the folder that it limits")
		}
		return nil
	}
	if f.cacheSize != "" {
		if n, err := diskcache.ParseSize(f.cacheSize); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("--teacher-cache-size is %q; give a size as 500MB or 20GB", f.cacheSize), err)
		}
	}
	if f.cache, err = filepath.Abs(f.cache); err == nil {
		err = os.MkdirAll(f.cache, 0o755)
	}
	if err != nil {
		return fmt.Errorf("--teacher-cache: %w; give a folder that can be written", err)
	}
	return nil
}

// interrupts closes stop at the first SIGINT, SIGTERM or SIGHUP (the terminal is gone), and ends the context at the second.
func interrupts(parent context.Context) (ctx context.Context, stop <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as it is by nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(parent)
	first := make(chan struct{})
	go func() {
		<-signals
		close(first)
		<-signals
		signal.Stop(signals) // a third one ends the program, whatever holds it up
		cancel()
	}()
	return ctx, first
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func printSummary(w io.Writer, s *local.Summary) error {
	t := newTable(nil)
	row := func(name string, value any) { t.AppendRow(table.Row{name, value}) }
	row("steps", fmt.Sprintf("%d of %d", s.Steps, s.TotalSteps))
	row("images/s", fmt.Sprintf("%.0f", s.ImagesPerSecond))
	if s.Communication != nil {
		row("communication hidden", fmt.Sprintf("%.0f%%", 100*s.Communication.Hidden))
	}
	row("loss", fmt.Sprintf("%.4f", s.Loss))
	row("mutual information", fmt.Sprintf("%.3f nat", s.MutualInformation))
	for _, m := range []struct {
		name  string
		value *float64
	}{
		{"k-NN accuracy, teacher", s.KNN.Teacher},
		{"k-NN accuracy, untrained student", s.KNN.Untrained},
		{"k-NN accuracy, trained student", s.KNN.Student},
		{"linear probe, teacher", s.Probe.Teacher},
		{"linear probe, untrained student", s.Probe.Untrained},
		{"linear probe, trained student", s.Probe.Student},
		{"accuracy of the student's logits", s.Accuracy},
	} {
		if m.value != nil {
			row(m.name, fmt.Sprintf("%.1f%%", 100**m.value))
		}
	}
	if s.SkippedImages > 0 {
		row("broken images that were replaced", s.SkippedImages)
	}
	row("SHA-256 of the weights", s.WeightsSHA256)
	row("run folder", s.Folder)
	if s.Student != "" {
		row("student", s.Student)
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}
