package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/chaos"
	"pupil/coordinator/job"
	"pupil/coordinator/local"
	"pupil/internal/config"
)

type chaosFlags struct {
	schedule string
	seed     uint64
	count    int
	every    time.Duration
	faults   []string
	folder   string
	fit      bool
	report   string
	set      []string
	json     bool
	broker   string
}

func chaosCommand() *cobra.Command {
	c := chaos.Config{}
	var f chaosFlags
	cmd := &cobra.Command{
		Use:   "chaos JOB.yaml",
		Short: "Train a job while its processes are killed, and compare it with a quiet run",
		Long: "Chaos runs a job twice on this machine, each time with coordinators, brokers within them and workers of its own: once in\n" +
			"quiet, once while a schedule of faults strikes them. It says whether the weights have the same SHA-256, whether each sample\n" +
			"was used exactly once, how long each fault held the training up, and what share of the time was useful.\n\n" +
			"Faults are those of a file, or drawn from --random SEED:\n\n" +
			"  kill     kill -9 of a worker, of the leader or another coordinator, of all of them, of the broker: with\n" +
			"           brokers in the coordinators, of the one that carries most workers\n" +
			"  stop     SIGSTOP of a worker or coordinator, later SIGCONT\n" +
			"  leave    SIGTERM to a worker, which hands over\n" +
			"  join     one more worker\n" +
			"  cut      a worker's connections stay open and carry nothing\n" +
			"  slow     a worker's connections, or those to the store, carry 4 MB/s\n" +
			"  lose     a worker's link to the brokers loses one in twenty messages, either way; those of the sums only if the brokers\n" +
			"           carry them, or with --netns\n" +
			"  full     the runs' bucket has no room left (a folder: as root, on a file system of its own)\n" +
			"  fail     writes to the runs' bucket fail; on a store (--storage) requests of any kind: errors, broken connections,\n" +
			"           uploads that end in the middle, answers that are lost or do not come\n" +
			"  corrupt  a byte of the newest checkpoint is changed\n" +
			"  part     with --netns: the hosts fall into two halves that do not hear each other\n\n" +
			"With --netns each process has a network namespace of its own (root; ip, tc and nft): cut, slow and lose then drop and\n" +
			"delay packets, and strike coordinators and the broker as well. What a file's faults look like:\n\n" +
			"  seed: 1\n" +
			"  faults:\n" +
			"    - {at: 5s, do: kill, whom: worker, for: 2s}   # after the first step; back after 2s\n" +
			"    - {at: 9s, do: kill, whom: leader, for: 1s}\n" +
			"    - {at: 12s, do: stop, whom: worker-0, for: 6s}\n" +
			"    - {at: 20s, do: full, whom: bucket, for: 5s}\n\n" +
			"Recovery is the time from a fault to the second step that is committed after it, pause the longest time between two\n" +
			"committed steps around it, failover the time until a coordinator leads again.\n\n" +
			"What is due after the job's last step is not made, and counted apart (not_made): give the job enough steps, or let\n" +
			"--fit-steps choose them. The report is printed when the run is broken off, too, and --report FILE has it after each fault.\n\n" +
			"Exit codes: 0 nothing was lost and the weights are equal, 1 something was or differs, 2 wrong use.",
		Example: "  coordinator chaos deploy/examples/fashion.yaml --workers 3 --coordinators 3 --random 7\n" +
			"  coordinator chaos job.yaml --schedule faults.yaml --json\n" +
			"  coordinator chaos job.yaml --random 7 --count 200 --every 10s --faults kill,stop,join,leave --fit-steps --report soak.json\n" +
			"  coordinator chaos job.yaml --storage 's3://bucket/chaos?endpoint=http://127.0.0.1:9000' --faults fail,full,kill\n" +
			"  coordinator chaos job.yaml --netns --faults part,cut,lose,slow",
		Args: config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error { return runChaos(cmd, args[0], c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.schedule, "schedule", "", "YAML file of faults")
	flags.Uint64Var(&f.seed, "random", 1, "draw the faults from this seed, when there is no --schedule")
	flags.IntVar(&f.count, "count", 10, "number of faults to draw")
	flags.DurationVar(&f.every, "every", 10*time.Second, "mean time between drawn faults")
	flags.StringSliceVar(&f.faults, "faults", nil, fmt.Sprintf("kinds to draw, of %s (default: all that this machine can do)", kindNames()))
	flags.BoolVar(&c.Netns, "netns", false, "give each process a network namespace of its own, between which links fail for real (needs root, ip, tc and nft)")
	flags.StringVar(&f.broker, "broker", "embedded", "embedded: one in each coordinator, as serve has by default; external: one that runs by itself")
	flags.StringVar((*string)(&c.DataPlane), "data-plane", "", "which way the workers' sums go: auto, mesh or broker (default: as serve has it)")
	flags.IntVar(&c.Workers, "workers", 3, "number of workers at the beginning")
	flags.IntVar(&c.Coordinators, "coordinators", 3, "number of coordinators: 1, 3 or 5")
	flags.IntVar(&c.Threads, "threads", 1, "lanes that a worker computes at the same time")
	flags.DurationVar(&c.WorkerTimeout, "worker-timeout", 3*time.Second, "a worker that is silent for so long is lost")
	flags.StringVar(&c.Storage, "storage", "", "URL of an empty prefix on an S3-compatible store, where the runs lie instead of a folder; full, fail and slow strike the way there")
	flags.StringVar(&f.folder, "folder", "", "new folder for the processes' state and logs (default: one below the system's for temporary files, removed when all is well)")
	flags.StringArrayVar(&f.set, "set", nil, "override a key of the job, as in --set steps=40 (repeatable)")
	flags.BoolVar(&f.fit, "fit-steps", false, "measure the pace first, and let the job have as many steps as the schedule takes")
	flags.StringVar(&f.report, "report", "", "write the report as JSON to this file, too, anew after each fault")
	flags.BoolVar(&f.json, "json", false, "print JSON on standard output; everything else goes to standard error")
	return cmd
}

func kindNames() string {
	var names []string
	for _, k := range chaos.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func runChaos(cmd *cobra.Command, file string, c chaos.Config, f chaosFlags) error {
	var err error
	if c.Spec, err = job.LoadWith(file, f.set); err != nil {
		return config.Usage(err)
	}
	if f.fit && slices.ContainsFunc(f.set, func(o string) bool { return strings.HasPrefix(o, "steps=") || strings.HasPrefix(o, "epochs=") }) {
		return config.Usagef("--fit-steps chooses how long the job trains; leave --set steps and epochs out")
	}
	if folder := filepath.Dir(f.report); f.report != "" {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return config.Usagef("--report %s: there is no folder %s", f.report, folder)
		}
	}
	switch f.broker {
	case "embedded":
	case "external":
		c.External = true
	default:
		return config.Usagef("--broker is %q; it must be embedded or external", f.broker)
	}
	if c.Netns { // before the other faults that its lack would cause
		if err := chaos.CheckNetns(); err != nil {
			return config.Usagef("--netns: %w", err)
		}
	}
	if c.Schedule, err = f.load(cmd, c); err != nil {
		return config.Usage(err)
	}
	if c.Binaries.Coordinator, err = os.Executable(); err != nil {
		return err
	}
	if c.Binaries.Worker, err = local.WorkerBinary(""); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return config.Usage(err)
	}
	if f.folder == "" {
		if c.Folder, err = os.MkdirTemp("", "pupil-chaos-"); err != nil {
			return err
		}
	} else if err := os.Mkdir(f.folder, 0o755); err != nil {
		return config.Usagef("--folder: %w; it must not be there yet", err)
	} else {
		c.Folder = f.folder
	}
	messages := cmd.ErrOrStderr()
	c.Say = func(line string) { fmt.Fprintln(messages, line) }
	if f.fit {
		c.Refit = func(steps int) (*job.Spec, error) {
			return job.LoadWith(file, append(slices.Clone(f.set), fmt.Sprintf("steps=%d", steps)))
		}
	}
	if f.report != "" {
		c.Keep = func(r *chaos.Report) {
			if err := writeReport(f.report, r); err != nil {
				c.Say(err.Error())
			}
		}
	}
	config.OutlivePipes()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := chaos.Run(ctx, c)
	if r == nil {
		return fmt.Errorf("%w; logs are in %s", err, c.Folder)
	}
	if err == nil && f.folder == "" {
		_ = os.RemoveAll(c.Folder) // of no use, and the system's to clean
		r.Folder = ""
		if c.Storage != "" {
			if err := c.RemoveRuns(ctx); err != nil {
				c.Say("the runs are left on the store: " + err.Error())
			}
		}
	}
	if f.report != "" {
		err = errors.Join(err, writeReport(f.report, r))
	}
	if f.json {
		return errors.Join(err, printJSON(cmd.OutOrStdout(), r))
	}
	printChaos(cmd.OutOrStdout(), r)
	return err
}

// writeReport puts a report into a file, which is always whole.
func writeReport(file string, r *chaos.Report) error {
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	err = printJSON(part, r)
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		_ = os.Remove(part.Name()) // the first error says more
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

// load reads or draws the schedule.
func (f chaosFlags) load(cmd *cobra.Command, c chaos.Config) (chaos.Schedule, error) {
	if f.schedule != "" {
		for _, other := range []string{"random", "count", "every", "faults"} {
			if cmd.Flags().Changed(other) {
				return chaos.Schedule{}, fmt.Errorf("--%s is for drawn faults; with --schedule the file has them", other)
			}
		}
		return chaos.LoadSchedule(f.schedule)
	}
	if f.count < 1 || f.every < time.Second {
		return chaos.Schedule{}, fmt.Errorf("--count is %d and --every %s; they must be at least 1 and 1s", f.count, f.every)
	}
	var kinds []chaos.Kind
	for _, name := range f.faults {
		k := chaos.Kind(name)
		if !k.Known() {
			return chaos.Schedule{}, fmt.Errorf("--faults has %q; the kinds are %s", name, kindNames())
		}
		if k == chaos.Part && !c.Netns {
			return chaos.Schedule{}, errors.New("--faults has part, which needs --netns: on loopback workers alone can be cut off")
		}
		kinds = append(kinds, k)
	}
	if kinds == nil {
		kinds = chaos.Able(c.Storage != "")
	}
	return chaos.Random(f.seed, f.count, f.every, kinds, c.Netns), nil
}

func printChaos(w io.Writer, r *chaos.Report) {
	t := newTable(w)
	row := func(name string, format string, values ...any) {
		t.AppendRow(table.Row{name, fmt.Sprintf(format, values...)})
	}
	yes := map[bool]string{true: "yes", false: "NO"}
	row("outcome", "%s after %s, in %s", r.Outcome, count(r.Steps, "step"), count(int(r.Generations), "generation"))
	row("faults", "%d of %d planned; %d found nobody to strike, %d were due after the end", r.Faults, r.Planned, r.Skipped, r.NotMade)
	if r.Complete {
		row("weights as in quiet", "%s: %s", yes[r.HashEqual], r.SHA256)
		row("each sample exactly once", "%s: %d lost, %d repeated", yes[r.ExactlyOnce], r.SamplesLost, r.SamplesRepeated)
	}
	row("committed steps lost", "%d", r.StepsLost)
	row("step in quiet", "%.0f ms", 1000*r.StepSeconds)
	row("goodput", "%.0f%% at the quiet run's pace", 100*r.Goodput)
	if r.BetweenSeconds > 0 {
		row("step between faults", "%.0f ms", 1000*r.BetweenSeconds)
		row("goodput", "%.0f%% at the pace between faults", 100*r.GoodputBetween)
	}
	if r.Failovers > 0 {
		row("a leader again", "%.0f ms p50, %.0f ms p99, %.0f ms at most, of %d struck", r.Failover.P50, r.Failover.P99, r.Failover.Max, r.Failovers)
	}
	t.Render()
	fmt.Fprintln(w)
	t = newTable(w, "ms", "faults", "recovery p50", "p99", "max", "pause p50", "p99", "max", "steps meanwhile")
	all := 0
	line := func(name string, n int, recovery, pause chaos.Quantiles, steps int) {
		row := table.Row{name, n}
		for _, q := range []chaos.Quantiles{recovery, pause} {
			for _, v := range []float64{q.P50, q.P99, q.Max} {
				row = append(row, fmt.Sprintf("%.0f", v))
			}
		}
		t.AppendRow(append(row, steps))
	}
	for _, k := range r.RecoveryBy {
		line(k.Fault, k.Faults, k.Quantiles, k.Pause, k.Steps)
		all += k.Steps
	}
	line("all", r.Faults, r.Recovery, r.Pause, all)
	t.Render()
}
