package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/internal/config"
)

func watchCommand() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "watch [RUN]",
		Short: "Follow a cluster or one of its jobs as it goes",
		Long: "Watch shows a run's progress until it has ended: one live line on a terminal, plain lines elsewhere. Without a run\n" +
			"it tells of all runs and workers until it is interrupted. With --json it prints one status a line, as status --json\n" +
			"has it. It goes on when another coordinator takes over.\n\n" +
			"Exit codes with a run: 0 it is done, 1 it failed or was stopped, 2 wrong use.",
		Example: "  coordinator watch faces-1\n  coordinator watch --json | jq -c '.runs[] | [.run, .phase, .step]'",
		Args:    atMostOne("the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(func(c *api.Client) error {
				switch {
				case f.json:
					return watchJSON(cmd, c, args)
				case len(args) == 1:
					return follow(cmd, c, args[0], false)
				}
				return watchAll(cmd, c)
			})
		},
	}
	f.add(cmd)
	return cmd
}

// watchJSON prints each status on a line; with a run, until that is over.
func watchJSON(cmd *cobra.Command, c *api.Client, args []string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e := json.NewEncoder(cmd.OutOrStdout())
	var last *api.Run
	err := c.Watch(ctx, func(s *api.Status) error {
		if len(args) == 1 {
			if last = find(s.Runs, args[0]); last == nil {
				return config.Usagef("there is no run %s; coordinator list shows those that are there", args[0])
			}
		}
		if err := e.Encode(s); err != nil {
			return err
		}
		if last != nil && last.Phase.Over() {
			return errOver
		}
		return nil
	})
	return watched(ctx.Err() != nil, err, last)
}

// watchAll tells of changes, and of each run's progress every few seconds.
func watchAll(cmd *cobra.Command, c *api.Client) error {
	const often = 5 * time.Second
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := cmd.OutOrStdout()
	said, shown := map[string]string{}, map[string]time.Time{}
	tell := func(key, text string) {
		if said[key] != text {
			said[key] = text
			fmt.Fprintln(out, text)
		}
	}
	err := c.Watch(ctx, func(s *api.Status) error {
		tell("leader", "coordinator "+s.Leader+" leads")
		tell("workers", fmt.Sprintf("%d workers", len(s.Workers)))
		for i := range s.Runs {
			r := &s.Runs[i]
			text := fmt.Sprintf("%s is %s", r.Run, r.Phase)
			if r.Reason != "" {
				text += ": " + r.Reason
			}
			tell("run "+r.Run, text)
			if r.ImagesPerSecond > 0 && time.Since(shown[r.Run]) > often {
				shown[r.Run] = time.Now()
				fmt.Fprintf(out, "%s  step %s  %s images/s  loss %.4f  %d workers  ETA %s\n", r.Run, steps(r), rate(r), r.Loss,
					len(r.Workers), eta(r))
			}
		}
		return nil
	})
	return watched(ctx.Err() != nil, err, nil)
}

// watched is how a watch ends: an interruption by the user is no error.
func watched(interrupted bool, err error, last *api.Run) error {
	switch {
	case interrupted:
		return nil
	case err != nil && err != errOver:
		return err
	case last != nil && last.Phase != "finished":
		return fmt.Errorf("run %s %s after step %d: %s", last.Run, last.Phase, last.Step, last.Reason)
	}
	return nil
}

func eventsCommand() *cobra.Command {
	var f clientFlags
	var more bool
	var run string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened in a cluster, and why",
		Long: "Events shows the newest 256 events: workers that joined, left or were lost, and how that was seen; each plan with\n" +
			"its reason, checkpoints, changes of the leader. With --follow also those to come, until it is interrupted.",
		Example: "  coordinator events --run faces-1\n  coordinator events --follow --json",
		Args:    config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(func(c *api.Client) error {
				ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				e := json.NewEncoder(cmd.OutOrStdout())
				if run != "" {
					if _, err := c.Run(ctx, run); err != nil {
						return err
					}
				}
				err := c.Events(ctx, 0, more, func(v *api.Event) error {
					if run != "" && v.Run != run {
						return nil
					}
					if f.json {
						return e.Encode(v)
					}
					about := v.Run
					if v.Worker != "" {
						about += " " + v.Worker
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %-24s %s\n", v.Time.Local().Format("2006-01-02 15:04:05.000"), about, v.Text)
					return err
				})
				return watched(ctx.Err() != nil, err, nil)
			})
		},
	}
	cmd.Flags().BoolVar(&more, "follow", false, "go on with the events to come")
	cmd.Flags().StringVar(&run, "run", "", "only events of this run")
	f.add(cmd)
	return cmd
}

func cancelCommand() *cobra.Command {
	var f clientFlags
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel RUN",
		Short: "Let a job stop after its step and save a checkpoint",
		Long: "Cancel asks a run to stop. Its workers finish the step and save a checkpoint; a run that waits ends at once.\n" +
			"coordinator submit --run RUN --resume goes on with it.",
		Example: "  coordinator cancel faces-1 --reason \"the data is wrong\"",
		Args:    config.Args(1, "the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(func(c *api.Client) error {
				r, err := c.Cancel(cmd.Context(), args[0], reason)
				switch {
				case err != nil:
					return err
				case f.json:
					return printJSON(cmd.OutOrStdout(), r)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", r.Run, r.Phase)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "cancelled by the user", "for the events")
	f.add(cmd)
	return cmd
}
