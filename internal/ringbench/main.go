// Ringbench compares this project's all-reduce with PyTorch's over gloo, and with a plain TCP ring of ours as the floor:
// real processes, on the loopback device and over links of 1 Gbit/s between network namespaces, in one run.
// `make bench-ring` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/contest"
)

type flags struct {
	only, json, table, python string
	pairs                     int
	limit, within             time.Duration
	list                      bool
}

func main() {
	os.Exit(config.Execute(context.Background(), command(), func() error { return nil }))
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "ringbench",
		Short: "Compare the all-reduce with PyTorch's over gloo, alternated in one run",
		Long: "Ringbench starts N processes for each way to sum, checks that each sums right, and lets the ways take turns.\n" +
			"One line a result, tab-separated: name, ours, gloo's (medians), the median ratio of the pairs (above 1: we\n" +
			"are ahead), the lowest and the highest ratio. Times are those of the slowest rank. Cases of 1 Gbit/s need\n" +
			"root and iproute2: each rank is in a network namespace of its own, behind a link of that rate. Start it in\n" +
			"the repository's folder; the results mean most on a machine that does nothing else.",
		Example: "  go run ./internal/ringbench --list\n" +
			"  go run ./internal/ringbench --only 'loopback.n4.14mb' --pairs 9\n" +
			"  go run ./internal/ringbench --only 1gbit --json ring.json",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	to := cmd.Flags()
	to.StringVar(&f.only, "only", "", "regular expression: cases whose names match (default: all)")
	to.IntVar(&f.pairs, "pairs", 7, "pairs of runs of each case")
	to.DurationVar(&f.limit, "limit", 20*time.Second, "a case's pairs take no longer than this")
	to.DurationVar(&f.within, "within", 14*time.Minute, "about how long all cases may take; there is one pair of each at least")
	to.StringVar(&f.json, "json", "", "file for the results and all pairs as JSON")
	to.StringVar(&f.table, "table", "", "file for the results as a table in Markdown")
	to.StringVar(&f.python, "python", "/usr/bin/python3", "the Python that has torch")
	to.BoolVar(&f.list, "list", false, "list the cases, and end")
	cmd.AddCommand(rankCommand())
	return cmd
}

func (f flags) run(cmd *cobra.Command) error {
	chosen, err := choose(f.only)
	switch {
	case err != nil:
		return config.Usage(err)
	case f.pairs < 1:
		return config.Usagef("--pairs is %d; give 1 or more", f.pairs)
	case f.within <= 0:
		return config.Usagef("--within is %s; give a time above 0", f.within)
	case f.limit <= 0:
		return config.Usagef("--limit is %s; give a time above 0", f.limit)
	}
	if f.list {
		for _, c := range chosen {
			fmt.Fprintf(cmd.OutOrStdout(), "%-36s %s\n", c.name(), c.about())
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "pupil-ringbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{
		program: []string{self, rankName}, peer: []string{f.python, peerScript}, folder: folder,
		pairs: f.pairs, limit: f.limit, until: time.Now().Add(f.within), messages: cmd.ErrOrStderr(),
	}
	if err := b.ready(); err != nil {
		return config.Usage(err)
	}
	r := newReport("ringbench " + strings.Join(os.Args[1:], " "))
	done := func(res result) error {
		fmt.Fprintln(cmd.OutOrStdout(), res.line())
		r.Torch, r.Results = b.torch, append(r.Results, res)
		return errors.Join(contest.Write(f.json, r), r.writeTable(f.table))
	}
	if slices.ContainsFunc(chosen, func(c benchmark) bool { return c.training }) {
		b.say("training with two workers")
		res, err := b.hidden(ctx, training())
		if err != nil {
			return err
		}
		if err := done(res); err != nil {
			return err
		}
	}
	settings := plan(chosen)
	for _, s := range settings {
		b.left += len(s.cases)
	}
	for _, p := range settings {
		err := b.measure(ctx, p, done)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted in %s", p.name())
		case err != nil:
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	return nil
}
