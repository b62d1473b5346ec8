package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/internal/config"
)

// clientFlags say how a command reaches a cluster.
type clientFlags struct {
	addresses        []string
	token, tokenFile string
	tls              tlsFlags
	patience         time.Duration
	json             bool
}

func (f *clientFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.addresses, "coordinator", []string{"http://127.0.0.1:7070"},
		"address of a coordinator, http(s)://host:port; several, separated by commas, are tried in turn")
	flags.StringVar(&f.token, "token", "", "the cluster's token; better in PUPIL_TOKEN, since other users can see flags")
	flags.StringVar(&f.tokenFile, "token-file", defaultSecret("token"), "file of the cluster's token")
	f.tls.add(cmd)
	flags.DurationVar(&f.patience, "patience", 15*time.Second, "so long a request is tried while no coordinator answers or leads")
	flags.BoolVar(&f.json, "json", false, "print JSON on standard output; everything else goes to standard error")
}

func (f *clientFlags) open() (*api.Client, error) {
	token := f.token
	if token == "" {
		var err error
		if token, err = control.LoadToken(f.tokenFile, false); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil, config.Usagef("the cluster's token: %w; copy it from where a coordinator runs, or give it as PUPIL_TOKEN", err)
			}
			return nil, config.Usagef("the cluster's token: %w", err)
		}
	}
	c := api.Config{Addresses: f.addresses, Token: token, Patience: f.patience}
	var err error
	if c.TLS, err = f.tls.load(nil, false); err != nil {
		return nil, err
	}
	client, err := api.NewClient(c)
	return client, config.Usage(err)
}

// use runs f with a client.
func (f *clientFlags) use(do func(*api.Client) error) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	defer c.Close()
	return classify(do(c))
}

// classify makes what the coordinator calls wrong a wrong use.
func classify(err error) error {
	var said *api.Error
	if errors.As(err, &said) && (said.Code == api.Invalid || said.Code == api.NotFound || said.Code == api.Unauthorized || said.Code == api.Forbidden) {
		return config.Usage(err)
	}
	return err
}

// listing asks a cluster for all that there is of something, maybe after a change.
type listing[T any] func(*cobra.Command, *api.Client, []string) ([]T, error)

// listingCommand shows what a listing returns, by draw or as JSON.
func listingCommand[T any](use, short string, args cobra.PositionalArgs, do listing[T], draw func(io.Writer, []T)) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(func(c *api.Client) error {
				all, err := do(cmd, c, args)
				switch {
				case err != nil:
					return err
				case f.json:
					return printJSON(cmd.OutOrStdout(), all)
				}
				draw(cmd.OutOrStdout(), all)
				return nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

// newTable is a table without lines around it. w may be nil for one that is only rendered as text.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	if len(header) > 0 {
		t.AppendHeader(table.Row(header))
	}
	return t
}

// count is a number with its noun, as in 1 shard, 2 shards.
func count(n int, noun string) string { return plural(n, noun, noun+"s") }

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
