package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pupil/augment/sheet"
	"pupil/coordinator/job"
	"pupil/internal/config"
	"pupil/worker/setup"
)

func viewsCommand() *cobra.Command {
	var out string
	var overrides []string
	var images, views int
	cmd := &cobra.Command{
		Use:   "views JOB.yaml",
		Short: "Draw what teacher and student of a job see",
		Long: "Views draws images of the job's training data as a PNG, one a row: the original, the teacher's views and the\n" +
			"student's views in the first epochs, as the job draws them.",
		Example: "  worker views deploy/examples/fashion.yaml --out views.png\n" +
			"  worker views job.yaml --out views.png --images 12 --set views.student.rotate=30",
		Args: config.Args(1, "one job file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkSheet(out, images, views); err != nil {
				return config.Usage(err)
			}
			spec, err := job.LoadWith(args[0], overrides)
			if err != nil {
				return config.Usage(err)
			}
			for _, w := range spec.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			j, err := setup.Open(cmd.Context(), spec)
			if err != nil {
				return err
			}
			rows, err := j.Sheet(cmd.Context(), images, views)
			if err != nil {
				return err
			}
			if err := writeWhole(out, func(w io.Writer) error { return sheet.Write(w, rows) }); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d images of %s, %d views each\n", out, len(rows), spec.Dataset.Train, views)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "views.png", "file to write, a PNG")
	cmd.Flags().IntVar(&images, "images", 8, "images, one a row")
	cmd.Flags().IntVar(&views, "views", 4, "views of the teacher, and of the student")
	cmd.Flags().StringArrayVar(&overrides, "set", nil, "override a key of the job, as in --set views.strength=2 (repeatable)")
	return cmd
}

func checkSheet(out string, images, views int) error {
	const mostViews = (sheet.MaxColumns - 1) / 2
	switch {
	case filepath.Ext(out) != ".png":
		return fmt.Errorf("--out is %q; the picture is a PNG, give a name that ends in .png", out)
	case images < 1 || images > sheet.MaxRows:
		return fmt.Errorf("--images is %d; give 1 to %d", images, sheet.MaxRows)
	case !isFolder(filepath.Dir(out)):
		return fmt.Errorf("--out is %q, and there is no folder %s; make it, or give another", out, filepath.Dir(out))
	case views < 1 || views > mostViews:
		return fmt.Errorf("--views is %d; give 1 to %d", views, mostViews)
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// writeWhole writes a file that has its name only when it is whole.
func writeWhole(name string, write func(w io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".part-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
