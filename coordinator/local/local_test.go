package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

func TestPace(t *testing.T) {
	var p pace
	if p.imagesPerSecond() != 0 {
		t.Error("a speed without a step")
	}
	start := time.Unix(100, 0)
	for i := range 5 {
		p.add(start.Add(time.Duration(i+1)*time.Second), wire.Report{Images: 10, Seconds: 1})
	}
	if p.seconds() != 5 || p.imagesPerSecond() != 10 {
		t.Errorf("%v s, %v images/s; want 5 and 10", p.seconds(), p.imagesPerSecond())
	}
}

func TestFindWorker(t *testing.T) {
	if got, err := findWorker("given"); err != nil || got != "given" {
		t.Errorf("findWorker(given) = %s, %v", got, err)
	}
	if _, err := findWorker(""); err == nil || !strings.Contains(err.Error(), "--worker-binary") {
		t.Errorf("no worker beside the test binary: %v", err)
	}
}
