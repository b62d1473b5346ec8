package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pupil/coordinator/job"
)

// budget is how long the base job trains.
type budget struct {
	epochs float64
	steps  int // 0: epochs decide
}

// sweep is one start of the program.
type sweep struct {
	jobFile     string
	results     string
	cache       string // where the data and the runs are
	coordinator string // the binary
	data        func(ctx context.Context, folder string) error
	messages    io.Writer
	now         func() time.Time
}

// task is a run that is to be made.
type task struct {
	setting setting
	seed    int
}

// plan checks the jobs of all settings, and lists what is missing: all settings with the first seed, then with the
// second.
func (s *sweep) plan(chosen []setting, seeds []int) ([]task, error) {
	have, err := load(s.results)
	if err != nil {
		return nil, err
	}
	var missing []task
	for _, seed := range seeds {
		for _, c := range chosen {
			spec, err := job.LoadWith(s.jobFile, c.sets(seed))
			if err != nil {
				return nil, fmt.Errorf("setting %s: %w", c.name, err)
			}
			if !have.has(c, seed, budget{spec.Epochs, spec.Steps}) {
				missing = append(missing, task{c, seed})
			}
		}
	}
	return missing, nil
}

// sets are the overrides of a setting and a seed.
func (c setting) sets(seed int) []string {
	return append([]string{"seed=" + strconv.Itoa(seed)}, c.overrides...)
}

// runAll makes the missing runs one after the other. A run that fails does not end the sweep, unless three do in a row.
func (s *sweep) runAll(ctx context.Context, tasks []task) error {
	if len(tasks) == 0 {
		s.say("nothing is missing in %s", s.results)
		return nil
	}
	data := filepath.Join(s.cache, "fashion-mnist-full")
	if err := s.prepare(ctx, data); err != nil {
		return err
	}
	const most = 3
	var failed []string
	inRow := 0
	begin := s.now()
	for i, t := range tasks {
		s.say("[%d/%d] %s, seed %d", i+1, len(tasks), t.setting.name, t.seed)
		have, err := load(s.results)
		if err != nil {
			return err
		}
		r, err := s.runOne(ctx, t, data, !have.baselines(t.seed))
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted; %d of %d runs are in %s, go on with the same command",
				i-len(failed), len(tasks), s.results)
		}
		spent := s.now().Sub(begin)
		left := (spent / time.Duration(i+1) * time.Duration(len(tasks)-i-1)).Round(time.Minute)
		if err != nil {
			inRow++
			failed = append(failed, fmt.Sprintf("%s, seed %d", t.setting.name, t.seed))
			s.say("  failed: %v", err)
			if inRow == most {
				return fmt.Errorf("%d runs in a row failed, the last one: %w", most, err)
			}
			continue
		}
		inRow = 0
		if err := add(s.results, *r); err != nil {
			return fmt.Errorf("keep a result: %w", err)
		}
		s.say("  linear probe %.2f%%, k-NN %.2f%%; about %s left", 100**r.Probe.Student, 100**r.KNN.Student, left)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d runs failed, the same command tries them again: %s", len(failed), len(tasks),
			strings.Join(failed, "; "))
	}
	return nil
}

func (s *sweep) say(format string, args ...any) { fmt.Fprintf(s.messages, format+"\n", args...) }

// prepare packs the full dataset unless it is there.
func (s *sweep) prepare(ctx context.Context, folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.say("packing all of Fashion-MNIST into %s", folder)
	part := folder + ".part" // a name that counts only when all is there
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return err
	}
	if err := s.data(ctx, part); err != nil {
		return fmt.Errorf("pack the dataset: %w", err)
	}
	return os.Rename(part, folder)
}

// makeData packs the dataset as the examples' is packed.
func makeData(ctx context.Context, folder string) error {
	cmd := exec.CommandContext(ctx, "deploy/examples/make-data", "full", folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("deploy/examples/make-data: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// summary is what `coordinator run --json` prints, as far as the results need it.
type summary struct {
	Outcome           string   `json:"outcome"`
	Steps             int      `json:"steps"`
	KNN               scores   `json:"knn"`
	Probe             scores   `json:"probe"`
	Accuracy          *float64 `json:"accuracy"`
	Loss              float64  `json:"loss"`
	MutualInformation float64  `json:"mutual_information"`
	UsedClasses       int      `json:"used_classes"`
	Seconds           float64  `json:"seconds"`
	WeightsSHA256     string   `json:"weights_sha256"`
	JobDigest         string   `json:"job_digest"`
	Version           string   `json:"version"`
}

// grace is how long a run that is interrupted may take to end by itself.
const grace = 30 * time.Second

// runOne trains and measures one setting with one seed, in a new folder that is deleted when the run has ended well.
// With baselines the teacher and the untrained student are measured as well, which are the same for all settings of a
// seed.
func (s *sweep) runOne(ctx context.Context, t task, data string, baselines bool) (*result, error) {
	spec, err := job.LoadWith(s.jobFile, t.setting.sets(t.seed))
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(s.cache, "sweep", fmt.Sprintf("%s-%d", t.setting.name, t.seed))
	if err := os.RemoveAll(folder); err != nil { // of a run that was interrupted
		return nil, err
	}
	args := []string{
		"run", s.jobFile, "--json", "--storage", folder,
		"--teacher-cache", filepath.Join(s.cache, "sweep-teacher"), // the teacher sees the same with each setting of a seed
	}
	for _, set := range append(
		t.setting.sets(t.seed),
		"dataset.train=file://"+filepath.Join(data, "train"), "dataset.test=file://"+filepath.Join(data, "test"),
		fmt.Sprintf("evaluate.baselines=%v", baselines),
	) {
		args = append(args, "--set", set)
	}
	cmd := exec.CommandContext(ctx, s.coordinator, args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it hears of Ctrl-C from here, once
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", s.coordinator, strings.Join(quoted(args), " "), err,
			lastLines(messages.String(), 5))
	}
	var m summary
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return nil, fmt.Errorf("read the run's summary: %w", err)
	}
	if m.Outcome != "finished" || m.KNN.Student == nil || m.Probe.Student == nil {
		return nil, fmt.Errorf("the run in %s has the outcome %q and no accuracy of the student", folder, m.Outcome)
	}
	return &result{
		Setting: t.setting.name, Seed: t.seed, Overrides: t.setting.overrides, Epochs: spec.Epochs, Steps: m.Steps,
		KNN: m.KNN, Probe: m.Probe, Accuracy: m.Accuracy, Loss: m.Loss, MutualInformation: m.MutualInformation,
		UsedClasses: m.UsedClasses, Seconds: m.Seconds, WeightsSHA256: m.WeightsSHA256,
		JobDigest: m.JobDigest, Version: m.Version,
	}, os.RemoveAll(folder)
}

// quoted are arguments as a shell takes them.
func quoted(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; strings.ContainsAny(a, " {}[]'\"") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return out
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
