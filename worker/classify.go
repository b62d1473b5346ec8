package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage"
	"pupil/worker/student"
)

// classification is what the command was asked.
type classification struct {
	use
	head string
	top  int
}

func classifyCommand() *cobra.Command {
	var c classification
	cmd := &cobra.Command{
		Use:   "classify STUDENT IMAGES...",
		Short: "Tell the classes of images, with probabilities",
		Long: "Classify prints the most probable classes of each image, by the head that worker fit-head has left beside the\n" +
			"student, or without one by the student's own classifier. Where the images' classes are known, it also says how\n" +
			"often it was right.\n\n" + imagesHelp,
		Example: "  worker classify runs/one/student cat.jpg\n" +
			"  worker classify runs/one/student photos/ --top 3 --json\n" +
			"  worker classify runs/one/student photos/ --head other-head.safetensors\n" +
			"  cat cat.jpg | worker classify runs/one/student -",
		Args: atLeast(2, "a student's folder and images"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0], args[1:]) },
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&c.head, "head", "", "file or URL of a head; own: the student's own classifier (default: "+student.HeadFile+" beside the student)")
	cmd.Flags().IntVar(&c.top, "top", 5, "classes that are printed of each image")
	cmd.Flags().Lookup("json").Usage = "print JSON, an object a line"
	return cmd
}

// classified is what --json prints of an image.
type classified struct {
	Name    string          `json:"name"`
	Label   string          `json:"label,omitempty"` // its class, where that is known
	Classes []student.Guess `json:"classes"`
}

func (c *classification) run(cmd *cobra.Command, from string, args []string) error {
	if err := c.use.check(); err != nil {
		return err
	}
	if c.top < 1 {
		return config.Usagef("--top is %d; it must be at least 1", c.top)
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	classifier, err := openClassifier(cmd, m, c.head)
	if err != nil {
		return err
	}
	set, err := openImages(cmd, args)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(cmd.OutOrStdout())
	known, right := 0, 0
	skipped, err := c.stream(cmd, m, set, func(r student.Result) error {
		guesses := student.Top(classifier.Classes, classifier.Probabilities(r.Pooled, r.Logits), c.top)
		label := className(set.Classes, r.Label)
		if slices.Contains(classifier.Classes, label) {
			known++
			if guesses[0].Class == label {
				right++
			}
		}
		if c.json {
			return lines.Encode(classified{r.Name, label, guesses})
		}
		var b strings.Builder
		b.WriteString(r.Name)
		for _, g := range guesses {
			fmt.Fprintf(&b, "\t%s %.1f%%", g.Class, 100*g.Probability)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), b.String())
		return err
	})
	if err != nil {
		return err
	}
	if known > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "right: %d of %d images whose class is known, %.1f%%\n", right, known,
			100*float64(right)/float64(known))
	}
	if skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d images left out, which cannot be decoded\n", skipped)
	}
	return nil
}

// openClassifier is the head in a file, or beside the student, or the student's own.
func openClassifier(cmd *cobra.Command, m *student.Model, head string) (*student.Classifier, error) {
	b, key := m.Folder, student.HeadFile
	switch head {
	case "own":
		c, err := m.Classifier(nil)
		return c, config.Usage(err)
	case "":
	default:
		var err error
		if b, key, err = openObject(cmd, head); err != nil {
			return nil, err
		}
	}
	h, err := student.LoadHead(cmd.Context(), b, key, m)
	if errors.Is(err, storage.ErrNotFound) && head == "" {
		h, err = nil, nil
	}
	if errors.Is(err, student.ErrHead) || errors.Is(err, storage.ErrNotFound) {
		return nil, config.Usage(err)
	}
	if err != nil {
		return nil, err
	}
	c, err := m.Classifier(h)
	return c, config.Usage(err)
}
