// Sweep trains the same student with each loss of a table, with several seeds each, and writes what came out into
// docs/loss.md. `make sweep` runs it; it can be interrupted, and goes on with what is missing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

type flags struct {
	job, results, page, cache, coordinator, only string
	seeds                                        []int
	list, render                                 bool
}

func main() {
	os.Exit(config.Execute(context.Background(), command(), nil))
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Train a student with each loss of a table, and compare the accuracies",
		Long: "Sweep runs one job with each setting of the loss in internal/sweep/settings.go and each seed, one run\n" +
			"after the other, and appends what each has reached to a file. Runs that are in the file are skipped, so that it can\n" +
			"be interrupted (Ctrl-C, which loses the run under way) and started again. --render writes the tables of\n" +
			"docs/loss.md from the file. Start it in the repository's folder, after `make build`.",
		Example: "  go run ./internal/sweep --list\n" +
			"  go run ./internal/sweep --only '^(kl_t1|mi_logits)$' --seeds 1\n" +
			"  go run ./internal/sweep --render",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	to := cmd.Flags()
	to.StringVar(&f.job, "job", "deploy/examples/sweep.yaml", "the base job: everything but the loss")
	to.StringVar(&f.results, "results", "docs/sweep.jsonl", "file of the results, one JSON object a line")
	to.StringVar(&f.page, "page", "docs/loss.md", "page whose tables --render writes")
	to.StringVar(&f.cache, "cache", "",
		"folder for the packed dataset and the runs (default: pupil in the user's cache folder)")
	to.StringVar(&f.coordinator, "coordinator", "bin/coordinator", "the coordinator's executable, with worker beside it")
	to.StringVar(&f.only, "only", "", "regular expression: settings whose names match (default: all)")
	to.IntSliceVar(&f.seeds, "seeds", []int{1, 2, 3}, "seeds of each setting")
	to.BoolVar(&f.list, "list", false, "list the settings, with the seeds that are there, and end")
	to.BoolVar(&f.render, "render", false, "write the tables, and end")
	return cmd
}

func (f flags) run(cmd *cobra.Command) error {
	chosen, err := choose(f.only)
	if err != nil {
		return config.Usage(err)
	}
	for i, seed := range f.seeds {
		if seed < 0 {
			return config.Usagef("--seeds: %d is number %d; a seed is 0 or more", seed, i+1)
		}
	}
	switch {
	case f.list && f.render:
		return config.Usagef("--list and --render are given; choose one")
	case f.list:
		return f.show(cmd, chosen)
	case f.render:
		return renderPage(f.page, f.results)
	}
	if _, err := os.Stat(f.coordinator); errors.Is(err, fs.ErrNotExist) {
		return config.Usagef("%s is not there; run make build, in the repository's folder", f.coordinator)
	}
	s := &sweep{
		jobFile: f.job, results: f.results, cache: f.cache, coordinator: f.coordinator, data: makeData,
		messages: cmd.ErrOrStderr(), now: time.Now,
	}
	if s.cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return config.Usagef("--cache is not given, and there is no cache folder: %v", err)
		}
		s.cache = filepath.Join(base, "pupil")
	}
	if s.cache, err = filepath.Abs(s.cache); err != nil {
		return err
	}
	tasks, err := s.plan(chosen, f.seeds)
	if err != nil {
		return config.Usage(err)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return s.runAll(ctx, tasks)
}

// choose returns the settings whose names match a regular expression.
func choose(only string) ([]setting, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	var chosen []setting
	for _, s := range settings {
		if match.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("--only %s: no setting matches; see --list", only)
	}
	return chosen, nil
}

// show prints the settings.
func (f flags) show(cmd *cobra.Command, chosen []setting) error {
	have, err := load(f.results)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		var seeds []string
		for _, r := range have.of(s.name) {
			seeds = append(seeds, fmt.Sprint(r.Seed))
		}
		done := "-"
		if len(seeds) > 0 {
			done = strings.Join(seeds, ",")
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-27s seeds %-6s %s\n", s.name, done, strings.Join(s.overrides, " "))
	}
	return nil
}
