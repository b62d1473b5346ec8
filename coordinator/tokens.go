package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/internal/config"
)

func tokensCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "Add, list and remove tokens with roles",
		Long: "Tokens gives users, workers and dashboards a token of their own, which may do less than the cluster's:\n" +
			"  viewer     look at runs, workers, events and metrics\n" +
			"  submitter  also submit and cancel jobs\n" +
			"  admin      also change coordinators and tokens\n" +
			"  worker     join as a worker, nothing else\n\n" +
			"The coordinators keep a token's SHA-256 only; the token itself is printed once. One that is removed opens nothing more,\n" +
			"and workers that have joined with it are thrown out.",
		Example: "  coordinator tokens add grafana --role viewer --out grafana.token\n" +
			"  coordinator tokens add anna --role submitter --days 90\n" +
			"  coordinator tokens list\n" +
			"  coordinator tokens remove anna",
	}
	cmd.AddCommand(tokensAddCommand(), tokensListCommand(), tokensRemoveCommand())
	return cmd
}

func tokensAddCommand() *cobra.Command {
	var f clientFlags
	var role, out string
	var days int
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make a token, and print it", Args: config.Args(1, "the name of a token"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(cluster.Roles(), cluster.Role(role)) {
				return config.Usagef("--role is %q; say what the token may do, one of %v", role, cluster.Roles())
			}
			in := api.Token{Name: args[0], Role: cluster.Role(role)}
			if days < 0 {
				return config.Usagef("--days is %d; it must not be negative", days)
			} else if days > 0 {
				in.Expires = time.Now().UTC().Add(time.Duration(days) * 24 * time.Hour).Truncate(time.Second)
			}
			var file *os.File
			if out != "" { // before there is a token that nobody gets to know
				var err error
				if file, err = os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
					return config.Usagef("--out: %w", err)
				}
				defer file.Close() // for the error's way out
			}
			return f.use(func(c *api.Client) error {
				t, err := c.AddToken(cmd.Context(), in)
				switch {
				case err != nil && file != nil:
					return errors.Join(err, os.Remove(out))
				case err != nil:
					return err
				case file != nil:
					_, err := fmt.Fprintln(file, t.Secret)
					return errors.Join(err, file.Sync())
				case f.json:
					return printJSON(cmd.OutOrStdout(), t)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), t.Secret)
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&role, "role", "", "what it may do: viewer, submitter, admin or worker")
	cmd.Flags().IntVar(&days, "days", 0, "days until it expires; 0: never")
	cmd.Flags().StringVar(&out, "out", "", "file to write the token to, for its owner alone, in place of standard output")
	return cmd
}

func tokensListCommand() *cobra.Command {
	return listingCommand("list", "List the tokens", config.Args(0, "no arguments"),
		func(cmd *cobra.Command, c *api.Client, _ []string) ([]api.Token, error) {
			return c.Tokens(cmd.Context())
		}, tokenTable)
}

func tokensRemoveCommand() *cobra.Command {
	return listingCommand("remove NAME", "Make a token void", config.Args(1, "the name of a token"),
		func(cmd *cobra.Command, c *api.Client, args []string) ([]api.Token, error) {
			return c.RemoveToken(cmd.Context(), args[0])
		}, tokenTable)
}

func tokenTable(w io.Writer, tokens []api.Token) {
	t := newTable(w, "token", "role", "added", "expires")
	for _, x := range tokens {
		expires := "never"
		if !x.Expires.IsZero() {
			expires = x.Expires.Format(time.DateOnly)
		}
		t.AppendRow(table.Row{x.Name, x.Role, x.Created.Format(time.DateOnly), expires})
	}
	t.Render()
}
