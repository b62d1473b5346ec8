package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"pupil/coordinator/job"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
	"pupil/worker/student/images"
)

// imagesHelp says in every command's help what images may be.
const imagesHelp = "STUDENT is the folder or URL of a student (config.json and model.safetensors). IMAGES are files, folders,\n" +
	"globs, URLs of buckets, packed datasets, tar files, or - for an image or a tar file on standard input."

// use is how images go through a student.
type use struct {
	batch, threads int
	broken         string
	json           bool
}

func (u *use) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&u.batch, "batch", student.DefaultBatch, "images that are computed at once")
	f.IntVar(&u.threads, "threads", runtime.NumCPU(), "batches that are computed at the same time")
	f.StringVar(&u.broken, "broken", job.BrokenFail, "images that cannot be decoded: "+job.BrokenFail+", or "+job.BrokenSkip+" and tell of them")
	f.BoolVar(&u.json, "json", false, "print JSON")
}

func (u *use) check() error {
	switch {
	case u.batch < 1 || u.batch > student.MaxBatch:
		return config.Usagef("--batch is %d; give 1 to %d", u.batch, student.MaxBatch)
	case u.threads < 1:
		return config.Usagef("--threads is %d; it must be at least 1", u.threads)
	case u.broken != job.BrokenFail && u.broken != job.BrokenSkip:
		return config.Usagef("--broken is %q; give %s or %s", u.broken, job.BrokenFail, job.BrokenSkip)
	}
	return nil
}

// stream puts images through a model, with progress on a terminal. It returns how many were left out.
func (u *use) stream(cmd *cobra.Command, m *student.Model, set *images.Set, take func(student.Result) error) (skipped int, err error) {
	meter := newMeter(cmd.ErrOrStderr(), set.Count)
	defer meter.close()
	c := student.StreamConfig{
		Batch: u.batch, Threads: u.threads, SkipBroken: u.broken == job.BrokenSkip, Progress: meter.set,
	}
	err = m.Stream(cmd.Context(), set, c, func(r student.Result) error {
		if r.Broken != nil {
			skipped++
			meter.notice("left out: " + r.Broken.Error())
			return nil
		}
		return take(r)
	})
	if errors.Is(err, student.ErrBroken) {
		err = fmt.Errorf("%w; --broken %s leaves such images out", err, job.BrokenSkip)
	}
	return skipped, err
}

// collect is the features of a set of images, and how many images were left out.
func (u *use) collect(cmd *cobra.Command, m *student.Model, set *images.Set) (f student.Features, skipped int, err error) {
	f = student.Features{Width: m.Network.Features(), Outputs: m.Config.Outputs}
	skipped, err = u.stream(cmd, m, set, func(r student.Result) error {
		f.Add(r)
		return nil
	})
	return f, skipped, err
}

// openImages finds images that a user names. Those that are not there are wrong use.
func openImages(cmd *cobra.Command, args []string) (*images.Set, error) {
	set, err := images.Open(cmd.Context(), args, cmd.InOrStdin())
	return set, config.Usage(err)
}

func openStudent(cmd *cobra.Command, address string) (*student.Model, error) {
	m, err := student.Open(cmd.Context(), address)
	if errors.Is(err, student.ErrModel) {
		return nil, config.Usage(err)
	}
	return m, err
}

// openObject is the bucket and key of a file or an object's URL.
func openObject(cmd *cobra.Command, name string) (storage.Bucket, string, error) {
	url, err := location.FromPath(name)
	if err != nil {
		return nil, "", config.Usage(err)
	}
	if info, err := os.Stat(name); url != name && err == nil && info.IsDir() {
		return nil, "", config.Usagef("%s is a folder; name a file", name)
	}
	parent, key, err := location.Split(url)
	if err != nil {
		return nil, "", config.Usage(err)
	}
	if err := storage.ValidateKey(key); err != nil {
		return nil, "", config.Usagef("%q names no file: %w", location.Redact(name), err)
	}
	b, err := location.Open(cmd.Context(), parent)
	return b, key, config.Usage(err)
}

// loadGallery reads a gallery. One that is not there or of no use is wrong use.
func loadGallery(cmd *cobra.Command, b storage.Bucket, key string, m *student.Model) (*gallery.Gallery, error) {
	g, err := gallery.Load(cmd.Context(), b, key, m.Digest)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, config.Usagef("%w; worker enroll makes a gallery", err)
	case errors.Is(err, gallery.ErrGallery):
		return nil, config.Usage(err)
	}
	return g, err
}

// className is a label in words, "" for none.
func className(classes []string, label int) string {
	if label < 0 || label >= len(classes) {
		return ""
	}
	return classes[label]
}

// atLeast demands arguments.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return config.Usagef("%s needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// meter shows on a terminal how many images are done.
type meter struct {
	out  io.Writer
	bars *mpb.Progress // nil: no terminal
	bar  *mpb.Bar
	done atomic.Int64
}

func newMeter(w io.Writer, total int) *meter {
	m := &meter{out: w}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return m
	}
	m.bars = mpb.New(mpb.WithOutput(w))
	count := decor.Any(func(decor.Statistics) string { return fmt.Sprintf("%d images ", m.done.Load()) })
	if total > 0 {
		m.bar = m.bars.AddBar(int64(total), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(count),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO)))
	} else {
		m.bar = m.bars.AddSpinner(0, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(count))
	}
	return m
}

func (m *meter) set(done int) {
	m.done.Store(int64(done))
	if m.bar != nil {
		m.bar.SetCurrent(int64(done))
	}
}

// notice writes a line beside the bar.
func (m *meter) notice(text string) {
	text = strings.TrimSuffix(text, "\n") + "\n"
	if m.bars != nil {
		_, _ = m.bars.Write([]byte(text))
		return
	}
	fmt.Fprint(m.out, text)
}

func (m *meter) close() {
	if m.bars != nil {
		m.bar.Abort(true)
		m.bars.Wait()
	}
}
