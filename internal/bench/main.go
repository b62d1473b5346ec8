// Bench compares this project's training step, its inference and its memory with PyTorch's, both in one run: the same
// networks with the same weights, the same images, loss, optimiser and number of threads. `make bench-torch` runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/contest"
	"pupil/internal/kernel"
)

type flags struct {
	only, json, python, clock string
	pairs                     int
	limit                     time.Duration
	list                      bool
}

func main() {
	os.Exit(config.Execute(context.Background(), command(), selectKernel))
}

// selectKernel tells of a PUPIL_KERNEL that cannot be obeyed.
func selectKernel() error { return config.Usage(kernel.Select(os.Getenv("PUPIL_KERNEL"))) }

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Compare the training step with PyTorch's, alternated in one run",
		Long: "Bench runs our step and PyTorch's in pairs, one directly after the other, on the same networks, weights,\n" +
			"images, loss and optimiser. It first checks that both compute the same figures, and gives each of PyTorch's\n" +
			"networks the faster of its two memory layouts. One line a result, tab-separated: name, ours, PyTorch's\n" +
			"(medians), the median ratio of the pairs (above 1: we are ahead), the lowest and the highest ratio. Times are\n" +
			"of one step or one batch: CPU time where one thread computes, the wall clock's where there are two, unless\n" +
			"--clock says otherwise. Start it in the repository's folder; the results mean most on a machine that does\n" +
			"nothing else.",
		Example: "  go run ./internal/bench --list\n" +
			"  go run ./internal/bench --only 'step32' --pairs 9 --limit 5m\n" +
			"  go run ./internal/bench --json bench.json",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	to := cmd.Flags()
	to.StringVar(&f.only, "only", "", "regular expression: cases whose names match (default: all)")
	to.IntVar(&f.pairs, "pairs", 0, "pairs of runs of each case (default: see --list)")
	to.DurationVar(&f.limit, "limit", 30*time.Second, "no pair of a case begins later than this after its first one")
	to.StringVar(&f.clock, "clock", clockAuto, "auto, cpu or wall: the clock of the times")
	to.StringVar(&f.json, "json", "", "file for the results and all pairs as JSON")
	to.StringVar(&f.python, "python", "/usr/bin/python3", "the Python that has torch and torchvision")
	to.BoolVar(&f.list, "list", false, "list the cases, and end")
	cmd.AddCommand(peakCommand())
	return cmd
}

func (f flags) run(cmd *cobra.Command) error {
	chosen, err := choose(f.only)
	switch {
	case err != nil:
		return config.Usage(err)
	case f.pairs < 0:
		return config.Usagef("--pairs is %d; give 1 or more, or 0 for each case's own number", f.pairs)
	case f.limit <= 0:
		return config.Usagef("--limit is %s; give a time above 0", f.limit)
	case f.clock != clockAuto && f.clock != clockCPU && f.clock != clockWall:
		return config.Usagef("--clock is %q; give %s, %s or %s", f.clock, clockAuto, clockCPU, clockWall)
	}
	if f.list {
		for _, c := range chosen {
			fmt.Fprintf(cmd.OutOrStdout(), "%-20s %d pairs  %s\n", c.name, c.pairs, c.about())
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := os.MkdirTemp("", "pupil-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{
		python: f.python, script: peerScript, folder: folder, pairs: f.pairs, limit: f.limit, clock: f.clock,
		out: cmd.OutOrStdout(), messages: cmd.ErrOrStderr(), threads: runtime.GOMAXPROCS,
		models: map[string]*models{}, layouts: map[string]map[string]string{},
	}
	if err := b.ready(); err != nil {
		return config.Usage(err)
	}
	r := newReport("bench " + strings.Join(os.Args[1:], " "))
	for _, c := range chosen {
		results, err := b.measure(ctx, c)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted in %s", c.name)
		case err != nil:
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, res := range results {
			fmt.Fprintln(b.out, res.line())
			r.Results = append(r.Results, *res)
		}
		r.Torch = b.torch
		if err := contest.Write(f.json, r); err != nil {
			return err
		}
	}
	return nil
}
