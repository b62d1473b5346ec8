package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage/dataset"
	"pupil/storage/location"
)

func dataCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Pack images into datasets"}
	cmd.AddCommand(importCommand())
	return cmd
}

func importCommand() *cobra.Command {
	var labels string
	var classes []string
	var perClass, shardSize int
	cmd := &cobra.Command{
		Use:   "import IMAGES DEST",
		Short: "Pack an IDX file of images (MNIST's format, .gz or not) into a dataset of shards",
		Long: "Import reads an IDX file of grey images and one of labels, and writes shards (tar files with an index) and a\n" +
			"manifest with their SHA-256 into DEST, a folder or a URL. The same input gives the same bytes.",
		Example: "  coordinator data import train-images-idx3-ubyte.gz fashion/train --per-class 600",
		Args:    config.Args(2, "a file of images and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if perClass < 0 || shardSize < 1 {
				return config.Usagef("--per-class is %d and --shard-size %d; they must be at least 0 and 1", perClass, shardSize)
			}
			if labels == "" {
				labels = labelsBeside(args[0])
			}
			url, err := location.FromPath(args[1])
			if err != nil {
				return config.Usage(err)
			}
			dst, err := location.Open(cmd.Context(), url)
			if err != nil {
				return err
			}
			m, err := dataset.ImportIDX(cmd.Context(), dst, args[0], labels, dataset.ImportOptions{
				Classes: classes, PerClass: perClass, ShardSize: shardSize,
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d images of %d classes in %d shards\n",
				args[1], m.Count, len(m.Classes), len(m.Shards))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&labels, "labels", "", "IDX file of labels (default: the images' name with labels-idx1 for images-idx3)")
	f.StringSliceVar(&classes, "classes", nil, "names of the classes, in the order of their labels (default: the numbers)")
	f.IntVar(&perClass, "per-class", 0, "take only the first N images of each class; 0 takes all")
	f.IntVar(&shardSize, "shard-size", 1000, "images in a shard")
	return cmd
}

// labelsBeside is the name that MNIST's files give to the labels of images.
func labelsBeside(images string) string {
	folder, name := filepath.Split(images)
	return folder + strings.Replace(name, "images-idx3", "labels-idx1", 1)
}
