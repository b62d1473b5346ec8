package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
)

// enrolment is what the command was asked.
type enrolment struct {
	use
	gallery, name string
	falseAccept   float64
}

func enrollCommand() *cobra.Command {
	var e enrolment
	cmd := &cobra.Command{
		Use:   "enroll STUDENT IMAGES... --gallery FILE",
		Short: "Add known identities to a gallery, for worker identify",
		Long: "Enroll adds the features of images to a gallery, under the identity that --name gives, or else the folder in\n" +
			"which an image lies. It makes the gallery where there is none; what is in it stays, and an image that is in it\n" +
			"already is not added again. Then it chooses the threshold for unknown images from all entries: each is compared\n" +
			"with those of other identities, and at most a share --false-accept of them may pass.\n\n" + imagesHelp,
		Example: "  worker enroll runs/one/student people/ --gallery people.gallery       # people/anna/1.jpg, ...\n" +
			"  worker enroll runs/one/student new/*.jpg --name bert --gallery people.gallery\n" +
			"  worker enroll s3://models/student s3://bucket/people --gallery s3://bucket/people.gallery --false-accept 0.001",
		Args: atLeast(2, "a student's folder and images"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, args[0], args[1:]) },
	}
	e.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&e.gallery, "gallery", "", "file or URL of the gallery")
	f.StringVar(&e.name, "name", "", "identity of all images (default: the folder in which an image lies)")
	f.Float64Var(&e.falseAccept, "false-accept", 0.01, "share of unknown images that may be taken for somebody")
	return cmd
}

// enrolled is the summary that --json prints.
type enrolled struct {
	Gallery    string             `json:"gallery"`
	Added      int                `json:"added"`
	Present    int                `json:"present"` // images that were in it already
	Skipped    int                `json:"skipped"` // images that cannot be decoded
	Entries    int                `json:"entries"`
	Identities int                `json:"identities"`
	Threshold  *gallery.Threshold `json:"threshold"`
}

func (e *enrolment) run(cmd *cobra.Command, from string, args []string) error {
	if err := e.use.check(); err != nil {
		return err
	}
	if !(e.falseAccept >= 0 && e.falseAccept < 1) {
		return config.Usagef("--false-accept is %v; give 0 or more, and less than 1", e.falseAccept)
	}
	m, b, key, err := openWithGallery(cmd, from, e.gallery)
	if err != nil {
		return err
	}
	if _, err := loadGallery(cmd, b, key, m); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err // before the images are computed
	}
	set, err := openImages(cmd, args)
	if err != nil {
		return err
	}
	features, skipped, err := e.collect(cmd, m, set)
	if err != nil {
		return err
	}
	s := enrolled{Gallery: e.gallery, Skipped: skipped}
	who := fmt.Sprintf("%s at %s", defaultID(), time.Now().Format(time.RFC3339Nano))
	err = patiently(cmd.Context(), func() error {
		return gallery.Update(cmd.Context(), b, key, m.Digest, m.Network.Features(), who, func(g *gallery.Gallery) error {
			return s.add(g, features, set.Classes, e)
		})
	})
	if err != nil {
		return err
	}
	return s.print(cmd, e.json)
}

// patiently does again what somebody else's lock forbids, for a while.
func patiently(ctx context.Context, do func() error) error {
	const attempts, pause = 40, 250 * time.Millisecond
	again := time.NewTicker(pause)
	defer again.Stop()
	for n := 1; ; n++ {
		err := do()
		if n == attempts || !errors.Is(err, gallery.ErrLocked) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add puts features into the gallery, and calibrates it.
func (s *enrolled) add(g *gallery.Gallery, features student.Features, classes []string, e *enrolment) error {
	for i, image := range features.Names {
		identity := e.name
		if identity == "" {
			identity = className(classes, features.Labels[i])
		}
		if identity == "" {
			return config.Usagef("whose image is %s? Put each identity into a folder of its own, or give --name", image)
		}
		added, err := g.Add(identity, image, features.Row(i))
		if err != nil {
			return err
		}
		if added {
			s.Added++
		} else {
			s.Present++
		}
	}
	g.Calibrate(e.falseAccept)
	s.Entries, s.Identities, s.Threshold = g.Len(), len(g.People()), g.Threshold
	return nil
}

func (s *enrolled) print(cmd *cobra.Command, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	present := ""
	if s.Present > 0 {
		present = fmt.Sprintf(", %d were there already", s.Present)
	}
	fmt.Fprintf(out, "%s: %d images added%s%s; %d of %d identities in all\n", s.Gallery, s.Added, present,
		skippedText(s.Skipped), s.Entries, s.Identities)
	t := s.Threshold
	if t == nil {
		_, err := fmt.Fprintln(out, "no threshold for unknown images yet: that takes images of two identities or more")
		return err
	}
	fmt.Fprintf(out, "threshold: cosine %.4f, which at most %.2g%% of images of others reach (%d compared)\n", t.Cosine,
		100*t.FalseAccept, t.Unknown)
	if t.Known > 0 {
		fmt.Fprintf(out, "with it %.1f%% of %d images with others of their own identity are recognised\n", 100*t.Accepted, t.Known)
	}
	return nil
}

// openWithGallery opens a student, and the place of a gallery.
func openWithGallery(cmd *cobra.Command, from, place string) (*student.Model, storage.Bucket, string, error) {
	if place == "" {
		return nil, nil, "", config.Usagef("--gallery is missing; name the gallery's file")
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return nil, nil, "", err
	}
	b, key, err := openObject(cmd, place)
	return m, b, key, err
}
