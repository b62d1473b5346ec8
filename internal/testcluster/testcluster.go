// Package testcluster runs the real binaries for tests: it builds them once for a test process and starts jobs with
// them, as a user would.
package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Binaries are the built commands.
type Binaries struct {
	Coordinator, Worker string
}

var build = sync.OnceValues(func() (Binaries, error) {
	dir, err := os.MkdirTemp("", "pupil-bin-")
	if err != nil {
		return Binaries{}, err
	}
	return buildIn(dir, "")
})

func buildIn(dir, version string) (Binaries, error) { return buildFrom(Root(), dir, version) }

func buildFrom(tree, dir, version string) (Binaries, error) {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if version != "" {
		args = append(args, "-ldflags", "-X pupil/internal/version.version="+version)
	}
	cmd := exec.Command("go", append(args, "./coordinator", "./worker")...)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return Binaries{filepath.Join(dir, "coordinator"), filepath.Join(dir, "worker")}, nil
}

// Build returns the binaries of this tree, built at the first call.
func Build(t testing.TB) Binaries {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BuildAs returns binaries of this tree that say they are of another version.
func BuildAs(t testing.TB, version string) Binaries {
	t.Helper()
	b, err := buildIn(t.TempDir(), version)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Clean removes what Build made. Call it at the end of TestMain.
func Clean() {
	if b, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(b.Worker))
	}
}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Summary is what `coordinator run --json` prints, as far as scripts rely on it.
type Summary struct {
	Outcome           string   `json:"outcome"`
	WeightsSHA256     string   `json:"weights_sha256"`
	Steps             int      `json:"steps"`
	ImagesPerSecond   float64  `json:"images_per_second"`
	Loss              float64  `json:"loss"`
	MutualInformation float64  `json:"mutual_information"`
	Accuracy          *float64 `json:"accuracy"`
	Folder            string   `json:"folder"`

	Health map[string]float64 `json:"health"`

	Communication struct { // seconds, on the mean of the steps
		Hidden  float64 `json:"hidden"`
		Workers []struct {
			Steps    int     `json:"steps"`
			Compute  float64 `json:"compute"`
			Send     float64 `json:"send"`
			Exchange float64 `json:"exchange"`
			Exposed  float64 `json:"exposed"`
			Left     float64 `json:"left"`
			Behind   float64 `json:"behind"`
			Add      float64 `json:"add"`
			Hidden   float64 `json:"hidden"`
		} `json:"workers"`
	} `json:"communication"`

	KNN struct {
		Teacher   *float64 `json:"teacher"`
		Untrained *float64 `json:"untrained"`
		Student   *float64 `json:"student"`
	} `json:"knn"`
}

// Job is a running `coordinator run`.
type Job struct {
	Cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr watched
}

// Start begins `coordinator run JOB args... --json` in the repository's folder. It is killed when the test ends.
func Start(t testing.TB, jobFile string, args ...string) *Job {
	t.Helper()
	return StartIn(t, Root(), jobFile, args...)
}

// StartIn is Start in another folder. jobFile is relative to the repository all the same.
func StartIn(t testing.TB, folder, jobFile string, args ...string) *Job {
	t.Helper()
	jobFile = filepath.Join(Root(), jobFile)
	b := Build(t)
	j := &Job{Cmd: exec.CommandContext(t.Context(), b.Coordinator, append([]string{"run", jobFile, "--json"}, args...)...)}
	j.Cmd.Dir = folder
	j.Cmd.Stdout, j.Cmd.Stderr = &j.stdout, &j.stderr
	j.Cmd.WaitDelay = 10 * time.Second
	if err := j.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return j
}

// WaitFor blocks until a line of the job's messages contains text, and returns that line.
func (j *Job) WaitFor(ctx context.Context, text string) (string, error) {
	return j.stderr.waitFor(ctx, text)
}

// Wait returns the summary, the messages and the exit code.
func (j *Job) Wait(t testing.TB) (Summary, string, int) {
	t.Helper()
	err := j.Cmd.Wait()
	if err != nil && j.Cmd.ProcessState == nil {
		t.Fatal(err)
	}
	var s Summary
	if j.stdout.Len() > 0 {
		if err := json.Unmarshal(j.stdout.Bytes(), &s); err != nil {
			t.Fatalf("--json printed %q: %v", j.stdout.String(), err)
		}
	}
	return s, j.stderr.String(), j.Cmd.ProcessState.ExitCode()
}

// Run runs a job to its end and fails the test unless it ends well.
func Run(t testing.TB, jobFile string, args ...string) Summary {
	t.Helper()
	s, messages, code := Start(t, jobFile, args...).Wait(t)
	if code != 0 {
		t.Fatalf("coordinator run %s %s: exit code %d\n%s", jobFile, strings.Join(args, " "), code, messages)
	}
	return s
}

// watched is a buffer that tells waiters of each write.
type watched struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watched) waitFor(ctx context.Context, text string) (string, error) {
	for {
		w.mu.Lock()
		all := w.text.String()
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
				return line, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("no line with %q: %w; the messages are:\n%s", text, context.Cause(ctx), all)
		}
	}
}
