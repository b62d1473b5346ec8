package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/location"
)

func dataCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Pack images into datasets, and look at these"}
	cmd.AddCommand(importCommand(), inspectDataCommand(), verifyDataCommand())
	return cmd
}

type importFlags struct {
	labels              string
	classes             []string
	perClass, shardSize int
	workers             int
	keepGoing, json     bool
	refused             string
}

func importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import SOURCE DEST",
		Short: "Pack images into a dataset of shards",
		Long: "Import packs images into DEST: shards (plain tar files with an index) and a manifest with their SHA-256. SOURCE is\n\n" +
			"  a folder     of images: the folders in it are the classes, or there are none and no labels either\n" +
			"  tar files    one, or a folder of them: NAME.jpg with NAME.cls beside it (WebDataset), or folders of classes\n" +
			"  IDX files    of MNIST's kind, .gz or not; the images are named, the labels found beside them\n\n" +
			"SOURCE and DEST are paths or URLs (s3://bucket/prefix). Every image is decoded; the first that cannot be ends the\n" +
			"import, or is listed and left out with --keep-going. An import that was interrupted goes on when it is called again.\n" +
			"The same source gives the same bytes.",
		Example: "  coordinator data import faces/ packed/train --keep-going\n" +
			"  coordinator data import s3://bucket/raw s3://bucket/train --shard-size 5000\n" +
			"  coordinator data import train-images-idx3-ubyte.gz fashion/train --per-class 600",
		Args: config.Args(2, "a source of images and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error { return importData(cmd, args[0], args[1], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.labels, "labels", "", "IDX file of labels (default: the images' name with labels-idx1 for images-idx3)")
	flags.StringSliceVar(&f.classes, "classes", nil, "names of the classes, in the order of their labels (default: the source's, sorted)")
	flags.IntVar(&f.perClass, "per-class", 0, "take only the first N images of each class; 0 takes all")
	flags.IntVar(&f.shardSize, "shard-size", dataset.DefaultShardSize, "images in a shard")
	flags.IntVar(&f.workers, "workers", 0, "images that are read and decoded at the same time (default: the cores)")
	flags.BoolVar(&f.keepGoing, "keep-going", false, "leave out images that cannot be decoded, and list them")
	flags.StringVar(&f.refused, "refused", "", "with --keep-going: write the list to this file as JSON lines, too")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON on standard output")
	return cmd
}

func importData(cmd *cobra.Command, source, dest string, f importFlags) error {
	if f.perClass < 0 || f.shardSize < 1 || f.workers < 0 {
		return config.Usagef("--per-class is %d, --shard-size %d and --workers %d; they must be at least 0, 1 and 0", f.perClass,
			f.shardSize, f.workers)
	}
	if f.labels == "" {
		f.labels = labelsBeside(source)
	}
	ctx := cmd.Context()
	dst, err := openPlace(ctx, dest)
	if err != nil {
		return err
	}
	src, err := dataset.OpenSource(ctx, source, f.labels, f.classes)
	if err != nil {
		return err
	}
	bar := newMeter(cmd.ErrOrStderr(), "importing", "images")
	m, refused, err := dataset.Import(ctx, dst, src, dataset.ImportOptions{
		PerClass: f.perClass, ShardSize: f.shardSize, Workers: f.workers, KeepGoing: f.keepGoing, Progress: bar.set,
	})
	bar.close()
	if err := writeRefused(f.refused, refused); err != nil {
		return err
	}
	for _, r := range refused {
		fmt.Fprintf(cmd.ErrOrStderr(), "left out: %s: %s\n", r.Origin, r.Reason)
	}
	if err != nil {
		if errors.Is(err, dataset.ErrImage) {
			err = fmt.Errorf("%w\nmend or remove it and call again, or leave such images out with --keep-going", err)
		}
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), struct {
			dataset.Manifest
			Refused []dataset.Refusal `json:"refused"`
		}{m, refused})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of %s in %s, %s\n", location.Redact(dest), count(m.Count, "image"),
		plural(len(m.Classes), "class", "classes"), count(len(m.Shards), "shard"), size(m.Bytes()))
	if len(refused) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "left out: %s\n", count(len(refused), "image"))
	}
	return nil
}

func writeRefused(file string, refused []dataset.Refusal) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, r := range refused {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// labelsBeside is the name that MNIST's files give to the labels of images, "" for another kind of source.
func labelsBeside(source string) string {
	i := strings.LastIndexAny(source, "/"+string(filepath.Separator)) + 1
	if !strings.Contains(source[i:], "images-idx3") {
		return ""
	}
	return source[:i] + strings.Replace(source[i:], "images-idx3", "labels-idx1", 1)
}

// openPlace opens a path or a URL.
func openPlace(ctx context.Context, place string) (storage.Bucket, error) {
	url, err := location.FromPath(place)
	if err != nil {
		return nil, config.Usage(err)
	}
	return location.Open(ctx, url)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
