package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/augment"
	"pupil/augment/sheet"
	"pupil/internal/config"
	"pupil/storage/dataset"
)

func inspectDataCommand() *cobra.Command {
	var out string
	var images int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect DATASET",
		Short: "Show what a dataset holds",
		Long: "Inspect reads a dataset once and shows its counts, classes, formats and sizes of images; --sheet draws images of it.\n" +
			"Damaged shards and images without a readable header are listed; verify decodes every image, too.",
		Example: "  coordinator data inspect packed/train --sheet sheet.png",
		Args:    config.Args(1, "a packed dataset"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if images < 1 || images > 512 {
				return config.Usagef("--images is %d; it must be 1 to 512", images)
			}
			d, s, err := survey(cmd, args[0], false)
			if err != nil {
				return err
			}
			if err := report(cmd, d, s, asJSON); err != nil {
				return err
			}
			if out != "" {
				if err := drawSheet(cmd.Context(), d, out, images); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", out, count(min(images, d.Count()), "image"))
			}
			return verdict(s)
		},
	}
	cmd.Flags().StringVar(&out, "sheet", "", "draw images, spread over the dataset evenly, as a PNG into this file")
	cmd.Flags().IntVar(&images, "images", 40, "images on the sheet")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON on standard output")
	return cmd
}

func verifyDataCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DATASET",
		Short: "Check every hash of a dataset and decode every image",
		Long: "Verify reads a dataset once: the SHA-256 of every shard and index, what the tar files hold against the indexes, and\n" +
			"every image, decoded as training does it. Exit code 1 says that something is wrong, and the messages what.",
		Example: "  coordinator data verify s3://bucket/train",
		Args:    config.Args(1, "a packed dataset"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, s, err := survey(cmd, args[0], true)
			if err != nil {
				return err
			}
			if err := report(cmd, d, s, asJSON); err != nil {
				return err
			}
			return verdict(s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON on standard output")
	return cmd
}

func survey(cmd *cobra.Command, place string, decode bool) (*dataset.Dataset, *dataset.Summary, error) {
	b, err := openPlace(cmd.Context(), place)
	if err != nil {
		return nil, nil, err
	}
	d, err := dataset.Open(cmd.Context(), b)
	if err != nil {
		return nil, nil, err
	}
	bar := newMeter(cmd.ErrOrStderr(), "reading", "images")
	defer bar.close()
	s, err := d.Inspect(cmd.Context(), dataset.InspectOptions{Decode: decode, Progress: bar.set})
	return d, s, err
}

// verdict is the error of a dataset that is not whole.
func verdict(s *dataset.Summary) error {
	if len(s.Damaged)+len(s.Broken) == 0 {
		return nil
	}
	return fmt.Errorf("damaged: %s; broken: %s; pack the dataset again, or copy it again from where it is whole",
		count(len(s.Damaged), "shard"), count(len(s.Broken), "image"))
}

func report(cmd *cobra.Command, d *dataset.Dataset, s *dataset.Summary, asJSON bool) error {
	for _, list := range [][]error{s.Damaged, s.Broken} {
		for _, err := range list {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
		}
	}
	m := d.Manifest()
	if asJSON {
		text := func(list []error) []string {
			out := []string{}
			for _, err := range list {
				out = append(out, err.Error())
			}
			return out
		}
		return printJSON(cmd.OutOrStdout(), struct {
			*dataset.Summary
			Digest  string    `json:"digest"`
			Classes []string  `json:"classes"`
			Mean    []float64 `json:"mean"`
			Std     []float64 `json:"std"`
			Damaged []string  `json:"damaged"`
			Broken  []string  `json:"broken"`
		}{s, d.Digest(), m.Classes, m.Mean, m.Std, text(s.Damaged), text(s.Broken)})
	}
	printDataset(cmd.OutOrStdout(), d, s)
	return nil
}

func printDataset(w io.Writer, d *dataset.Dataset, s *dataset.Summary) {
	m := d.Manifest()
	t := newTable(w)
	row := func(name string, value any) { t.AppendRow(table.Row{name, value}) }
	row("images", fmt.Sprintf("%d of %d", s.Count, m.Count))
	row("shards", fmt.Sprintf("%d of %d, %s", s.Shards, len(m.Shards), size(m.Bytes())))
	row("bytes of an image", s.Images/int64(max(s.Count, 1)))
	row("channels, mean, deviation", fmt.Sprintf("%d, %.3f, %.3f", m.Channels, m.Mean, m.Std))
	row("digest", d.Digest())
	for _, name := range slices.Sorted(maps.Keys(s.Formats)) {
		row("format "+name, s.Formats[name])
	}
	most := 0
	for _, bar := range s.Sides {
		most = max(most, bar.Count)
	}
	for _, bar := range s.Sides {
		const width = 30
		row(fmt.Sprintf("longer side up to %d", bar.Pixels), fmt.Sprintf("%-*s %d", width,
			strings.Repeat("#", max(1, bar.Count*width/most)), bar.Count))
	}
	for label, name := range m.Classes {
		row(fmt.Sprintf("class %d %s", label, name), s.Labels[label])
	}
	if s.Unlabelled > 0 {
		row("without a label", s.Unlabelled)
	}
	t.Render()
}

// drawSheet draws images spread over the dataset evenly. One that cannot be decoded is left out.
func drawSheet(ctx context.Context, d *dataset.Dataset, file string, images int) error {
	images = min(images, d.Count())
	var cells []sheet.Cell
	for i := range images {
		sample, data, err := d.Sample(ctx, i*d.Count()/images)
		if err != nil {
			return err
		}
		if img, err := augment.Decode(data, 3); err == nil {
			cells = append(cells, sheet.Cell{Name: sample.Name, Image: img})
		}
	}
	var b bytes.Buffer
	if err := sheet.WriteGrid(&b, cells); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
