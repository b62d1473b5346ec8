// Scaling computes what the ring needs with up to 1,000 workers, by formula and by simulation of its step machine, and writes
// the tables into docs/scaling.md. `make scaling` runs it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

func main() {
	os.Exit(config.Execute(context.Background(), command(), nil))
}

func command() *cobra.Command {
	var page string
	var most int
	cmd := &cobra.Command{
		Use:   "scaling",
		Short: "Compute the ring's bytes and times for many workers",
		Long: "Scaling prints tables of bytes and times of the all-reduce, by formula for up to 1,000 workers and by a\n" +
			"simulation of the ring's own step machine for up to 256. Nothing in it is measured but where it says so.\n" +
			"With --page it writes them between the markers of a Markdown page. It takes about two minutes.",
		Example: "  go run ./allreduce/scaling --page docs/scaling.md",
		Args:    config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text bytes.Buffer
			if err := render(&text, most, func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), s) }); err != nil {
				return err
			}
			if page == "" {
				_, err := io.Copy(cmd.OutOrStdout(), &text)
				return err
			}
			return renderPage(page, text.Bytes())
		},
	}
	cmd.Flags().StringVar(&page, "page", "", "Markdown file to write the tables into (default: standard output)")
	cmd.Flags().IntVar(&most, "most", 256, "workers that are simulated, at most")
	return cmd
}

// The tables stand between these lines of the page.
const (
	beginMarker = "<!-- scaling:begin -->"
	endMarker   = "<!-- scaling:end -->"
)

// renderPage writes the tables into a page.
func renderPage(page string, tables []byte) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(beginMarker))
	_, after, closed := bytes.Cut(rest, []byte(endMarker))
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %s and %s, between which the tables belong", page, beginMarker, endMarker)
	}
	text := fmt.Sprintf("%s%s\n%s%s%s", before, beginMarker, tables, endMarker, after)
	part := page + ".part"
	if err := os.WriteFile(part, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(part, page)
}
