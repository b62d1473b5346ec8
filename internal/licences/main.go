// Licences lists what is linked into the two programs, with the licence of each module, in docs/licences.md, and refuses
// licences that are not on its list. `make licences` runs it; with --check, as in `make check`, the page must be current.
// With --texts it copies the texts of the licences, which have to come with the programs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

func main() {
	os.Exit(config.Execute(context.Background(), command(), nil))
}

func command() *cobra.Command {
	var page, texts string
	var check bool
	cmd := &cobra.Command{
		Use:   "licences",
		Short: "List the licences of all that is linked into the programs",
		Example: "  go run ./internal/licences\n" +
			"  go run ./internal/licences --check\n" +
			"  go run ./internal/licences --texts dist/licences",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			modules, err := linked(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case texts != "":
				return copyTexts(modules, texts)
			case check:
				return current(page, render(modules))
			}
			return os.WriteFile(page, []byte(render(modules)), 0o644)
		},
	}
	cmd.Flags().StringVar(&page, "page", "docs/licences.md", "page to write")
	cmd.Flags().BoolVar(&check, "check", false, "write nothing, and fail if the page is not current")
	cmd.Flags().StringVar(&texts, "texts", "", "write nothing but a folder with the texts of all licences")
	return cmd
}

// current returns an error unless a page has the given text.
func current(page, want string) error {
	have, err := os.ReadFile(page)
	if err == nil && string(have) != want {
		err = fmt.Errorf("%s is not current: run make licences", page)
	}
	return err
}

// copyTexts writes each module's licence files to FOLDER/MODULE@VERSION/.
func copyTexts(modules []module, folder string) error {
	for _, m := range modules {
		to := filepath.Join(folder, filepath.FromSlash(m.path)+"@"+m.version)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		for name, text := range m.texts {
			if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
				return errors.Join(err, os.RemoveAll(to))
			}
		}
	}
	return nil
}
