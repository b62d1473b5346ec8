package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
)

// identification is what the command was asked.
type identification struct {
	use
	gallery   string
	top       int
	threshold float64
}

func identifyCommand() *cobra.Command {
	var i identification
	cmd := &cobra.Command{
		Use:   "identify STUDENT IMAGES... --gallery FILE",
		Short: "Find whose images they are among the identities of a gallery, or that they are unknown",
		Long: "Identify compares each image with the entries of a gallery that worker enroll has made, and prints the nearest\n" +
			"identities. An image whose cosine with the nearest is below the gallery's threshold is unknown.\n\n" + imagesHelp,
		Example: "  worker identify runs/one/student door.jpg --gallery people.gallery\n" +
			"  worker identify runs/one/student photos/ --gallery people.gallery --top 3 --json\n" +
			"  worker identify runs/one/student door.jpg --gallery people.gallery --threshold 0.8",
		Args: atLeast(2, "a student's folder and images"),
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd, args[0], args[1:]) },
	}
	i.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&i.gallery, "gallery", "", "file or URL of the gallery")
	f.IntVar(&i.top, "top", 3, "identities that are printed of each image")
	f.Float64Var(&i.threshold, "threshold", 0, "cosine from which on an image is known (default: the gallery's)")
	f.Lookup("json").Usage = "print JSON, an object a line"
	return cmd
}

// identified is what --json prints of an image.
type identified struct {
	Name  string `json:"name"`
	Label string `json:"label,omitempty"` // its identity, where that is known
	gallery.Answer
}

func (i *identification) run(cmd *cobra.Command, from string, args []string) error {
	if err := i.use.check(); err != nil {
		return err
	}
	if i.top < 1 {
		return config.Usagef("--top is %d; it must be at least 1", i.top)
	}
	m, g, err := i.open(cmd, from)
	if err != nil {
		return err
	}
	set, err := openImages(cmd, args)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(cmd.OutOrStdout())
	labelled, right, unknown := 0, 0, 0
	skipped, err := i.stream(cmd, m, set, func(r student.Result) error {
		answer, err := g.Identify(r.Pooled, i.top)
		if err != nil {
			return err
		}
		label := className(set.Classes, r.Label)
		if label != "" {
			labelled++
			if answer.Identity == label {
				right++
			}
		}
		if !answer.Known {
			unknown++
		}
		if i.json {
			return lines.Encode(identified{r.Name, label, answer})
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), r.Name+"\t"+inWords(answer))
		return err
	})
	if err != nil {
		return err
	}
	if labelled > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "right: %d of %d images whose identity is known, %d taken for unknown\n", right, labelled, unknown)
	}
	if skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d images left out, which cannot be decoded\n", skipped)
	}
	return nil
}

func inWords(a gallery.Answer) string {
	var b strings.Builder
	if b.WriteString(a.Identity); !a.Known {
		b.WriteString("unknown")
	}
	for _, c := range a.Candidates {
		fmt.Fprintf(&b, "\t%s %.4f", c.Identity, c.Cosine)
	}
	return b.String()
}

func (i *identification) open(cmd *cobra.Command, from string) (*student.Model, *gallery.Gallery, error) {
	m, b, key, err := openWithGallery(cmd, from, i.gallery)
	if err != nil {
		return nil, nil, err
	}
	g, err := loadGallery(cmd, b, key, m)
	if err != nil {
		return nil, nil, err
	}
	if cmd.Flags().Changed("threshold") {
		if !(i.threshold >= -1 && i.threshold <= 1) {
			return nil, nil, config.Usagef("--threshold is %v; a cosine is in -1..1", i.threshold)
		}
		g.Threshold = &gallery.Threshold{Cosine: i.threshold}
	}
	if err := g.Ready(); err != nil {
		return nil, nil, config.Usage(err)
	}
	return m, g, nil
}
