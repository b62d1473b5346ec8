package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
)

const someJob = `
name: some
dataset: {train: data}
student: {architecture: resnet10_cifar, width: 0.25, size: 28, channels: 1, outputs: 10}
batch: 16
lanes: 4
steps: 10
`

func spec(t *testing.T, overrides ...string) *job.Spec {
	t.Helper()
	s, err := job.Decode([]byte(someJob), "some.yaml", overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	ctx := context.Background()
	first := Config{Spec: spec(t)}
	if _, err := open(ctx, Config{Spec: spec(t), Resume: true}, now); !errors.Is(err, ErrUsage) {
		t.Errorf("nothing to resume: %v", err)
	}
	a, err := open(ctx, first, now)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(a.folder) != "some-20260102-150405" {
		t.Errorf("the first run lies in %s", a.folder)
	}
	b, err := open(ctx, first, now)
	if err != nil {
		t.Fatal(err)
	}
	if b.folder != a.folder+"-2" {
		t.Errorf("a run of the same second lies in %s", b.folder)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(b.folder, wire.RecordName), later, later); err != nil {
		t.Fatal(err)
	}
	again, err := open(ctx, Config{Spec: spec(t), Resume: true}, now)
	if err != nil || again.folder != b.folder {
		t.Errorf("--resume without --storage opens %+v, error %v; want the newest run", again, err)
	}
	longer := filepath.Join("runs", "some-2-20270102-150405")
	if err := os.Rename(b.folder, longer); err != nil {
		t.Fatal(err)
	}
	if other, err := open(ctx, Config{Spec: spec(t), Resume: true}, now); err != nil || other.folder != a.folder {
		t.Errorf("with a newer run of job some-2, --resume opens %+v, error %v; want that of job some", other, err)
	}
	spaced := filepath.Join(t.TempDir(), "my run \u00f6")
	if r, err := open(ctx, Config{Spec: spec(t), Storage: spaced}, now); err != nil || r.folder != spaced {
		t.Errorf("a folder with a space opens as %+v, error %v", r, err)
	} else if _, err := os.Stat(filepath.Join(spaced, wire.RecordName)); err != nil {
		t.Error(err)
	}
	if _, err := open(ctx, Config{Spec: spec(t), Storage: a.folder}, now); !errors.Is(err, ErrUsage) {
		t.Errorf("a run over another one: %v", err)
	}
	if _, err := open(ctx, Config{Spec: spec(t), Storage: "s3://bucket/run"}, now); !errors.Is(err, ErrUsage) {
		t.Errorf("a run in a bucket: %v", err)
	}
	_, err = open(ctx, Config{Spec: spec(t, "seed=7", "lanes=8"), Storage: a.folder, Resume: true}, now)
	if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "seed: then 1, now 7") ||
		!strings.Contains(err.Error(), "lanes: then 4, now 8") {
		t.Errorf("another job: %v", err)
	}
}

// TestMissingInputs: a run whose data or teacher is not there is refused before there is one, which a later --resume would
// take for the newest.
func TestMissingInputs(t *testing.T) {
	t.Chdir(t.TempDir())
	c := Config{Spec: spec(t, "dataset.train=nowhere", "dataset.test=no-test")}
	c.Spec.Teacher = &job.Teacher{Model: "file:///nobody"}
	_, err := Run(t.Context(), c, nil)
	if !errors.Is(err, ErrUsage) {
		t.Fatalf("error %v, want one of usage", err)
	}
	for _, want := range []string{"dataset.train", "nowhere", "dataset.test", "no-test", "teacher.model", "nobody"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if files, _ := os.ReadDir("."); len(files) > 0 {
		t.Errorf("there is %s", files[0].Name())
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"runs/one": "runs/one", "seed=3": "seed=3", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "x;y": "'x;y'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	d := &lines{out: &out, now: func() time.Time { return now }}
	d.Notice("hello")
	for step := 1; step <= 1000; step++ {
		d.Progress(wire.Report{Step: step, Total: 1000, Images: 100, Seconds: 0.5, Loss: 1.25, MutualInformation: 0.5})
	}
	d.Close()
	d.Progress(wire.Report{Step: 1000, Total: 1000})
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 1+1+20 || got[0] != "hello" {
		t.Fatalf("%d lines:\n%s", len(got), out.String())
	}
	if want := "step 500 of 1000  200 images/s  loss 1.2500  mutual information 0.500  ETA 4m10s"; got[11] != want {
		t.Errorf("line 11 is %q, want %q", got[11], want)
	}
}

// The live line must take reports while it draws and while others give notice.
func TestBarUnderLoad(t *testing.T) {
	ticks := make(chan any)
	b := newBar(io.Discard, mpb.WithAutoRefresh(), mpb.WithManualRefresh(ticks))
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case ticks <- time.Now():
			case <-stop:
				return
			}
		}
	})
	others.Go(func() {
		for i := range 200 {
			b.Notice(strconv.Itoa(i))
		}
	})
	for step := range 5000 {
		b.Progress(wire.Report{Step: step + 1, Total: 5000, Images: 1, Seconds: 1})
	}
	close(stop)
	others.Wait()
	b.Close()
	b.Close()
	b.Notice("after the end")
	b.Progress(wire.Report{Step: 1, Total: 1})
}

func TestPace(t *testing.T) {
	var p pace
	if p.imagesPerSecond() != 0 {
		t.Error("a speed without a step")
	}
	start := time.Unix(100, 0)
	for i := range 5 {
		p.add(start.Add(time.Duration(i+1)*time.Second), wire.Report{Images: 10, Seconds: 1, Health: map[string]float64{"skipped": 2, "saturated": 3}})
	}
	if p.skipped != 10 || p.saturated != 15 {
		t.Errorf("%d skipped, %d saturated; want 10 and 15", p.skipped, p.saturated)
	}
	if p.seconds() != 5 || p.imagesPerSecond() != 10 {
		t.Errorf("%v s, %v images/s; want 5 and 10", p.seconds(), p.imagesPerSecond())
	}
}

func TestFindWorker(t *testing.T) {
	if got, err := WorkerBinary("given"); err != nil || got != "given" {
		t.Errorf("WorkerBinary(given) = %s, %v", got, err)
	}
	if _, err := WorkerBinary(""); err == nil || !strings.Contains(err.Error(), "--worker-binary") {
		t.Errorf("no worker beside the test binary: %v", err)
	}
}
