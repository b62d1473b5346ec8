package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/job"
)

var update = flag.Bool("update", false, "write testdata anew")

const baseJob = "../../deploy/examples/sweep.yaml"

// TestMain is the coordinator of the tests when SWEEP_FAKE says how it behaves: it prints a summary whose figures
// follow from its arguments.
func TestMain(m *testing.M) {
	switch os.Getenv("SWEEP_FAKE") {
	case "":
		os.Exit(m.Run())
	case "wait": // until it is interrupted
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, os.Interrupt)
		if err := os.WriteFile(os.Getenv("SWEEP_READY"), nil, 0o600); err != nil {
			os.Exit(3)
		}
		<-heard
		fmt.Fprintln(os.Stderr, "stopped")
		os.Exit(1)
	}
	args := strings.Join(os.Args[1:], " ")
	if bad := os.Getenv("SWEEP_FAIL"); bad != "" && strings.Contains(args, bad) {
		fmt.Fprintln(os.Stderr, "one\ncollapsed")
		os.Exit(1)
	}
	share := float64(len(args)%10) / 10
	measured := scores{Student: &share}
	if strings.Contains(args, "evaluate.baselines=true") {
		measured = scores{&share, &share, &share}
	}
	out, err := json.Marshal(summary{Outcome: "finished", Steps: 40, KNN: measured, Probe: measured, WeightsSHA256: args})
	if err != nil {
		os.Exit(3)
	}
	fmt.Println(string(out))
	os.Exit(0)
}

func TestSettings(t *testing.T) {
	names, jobs := map[string]bool{}, map[string]string{}
	for _, s := range settings {
		if names[s.name] {
			t.Errorf("%s is there twice", s.name)
		}
		names[s.name] = true
		spec, err := job.LoadWith(baseJob, s.sets(1))
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if same := jobs[spec.Digest()]; same != "" {
			t.Errorf("%s is the same job as %s", s.name, same)
		}
		jobs[spec.Digest()] = s.name
	}
	for _, s := range settings {
		if s.kind == l2 && names[s.name] && s.source == both {
			t.Errorf("%s: margins to L2 are those to one source", s.name)
		}
	}
}

func accuracies(v ...float64) scores {
	s := scores{Student: &v[0]}
	if len(v) > 1 {
		s.Teacher, s.Untrained = &v[1], &v[2]
	}
	return s
}

func TestResultsSurviveAnyEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sweep.jsonl")
	if all, err := load(path); err != nil || len(all) != 0 {
		t.Fatalf("no file: %v, %v", all, err)
	}
	first := result{
		Setting: "kl_t1", Seed: 1, Overrides: []string{"a=1"}, Epochs: 5, Steps: 7, KNN: accuracies(0.5), Probe: accuracies(0.5),
	}
	second := first
	second.Seed = 2
	if err := errors.Join(add(path, first), add(path, second)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	one := bytes.IndexByte(whole, '\n') + 1
	for end := range whole { // a program that was killed while it wrote
		if err := os.WriteFile(path, whole[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := load(path)
		want := 0
		if end >= one {
			want = 1
		}
		if err != nil || len(all) != want {
			t.Fatalf("cut at %d: %d results, %v; want %d", end, len(all), err, want)
		}
		if end > one {
			if err := add(path, second); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
				t.Fatalf("cut at %d and written again: %v\n%s", end, err, got)
			}
		}
	}
	all, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	s := setting{name: "kl_t1", overrides: []string{"a=1"}}
	other := setting{name: "kl_t1", overrides: []string{"a=2"}}
	for _, c := range []struct {
		got, want bool
	}{
		{all.has(s, 1, budget{5, 0}), true},
		{all.has(s, 3, budget{5, 0}), false},
		{all.has(s, 1, budget{6, 0}), false},
		{all.has(s, 1, budget{5, 8}), false},
		{all.has(other, 1, budget{5, 0}), false},
	} {
		if c.got != c.want {
			t.Errorf("a result is there: %v, want %v", c.got, c.want)
		}
	}
	if err := os.WriteFile(path, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(path); err == nil || !strings.Contains(err.Error(), "sweep.jsonl:1") {
		t.Errorf("an empty result: %v", err)
	}
}

// start is a sweep whose coordinator is this test's program.
func start(t *testing.T, messages *bytes.Buffer) *sweep {
	t.Helper()
	folder := t.TempDir()
	clock := time.Unix(0, 0)
	return &sweep{
		jobFile: "testdata/job.yaml", results: filepath.Join(folder, "sweep.jsonl"), cache: filepath.Join(folder, "cache"),
		coordinator: os.Args[0],
		data:        func(_ context.Context, to string) error { return os.Mkdir(filepath.Join(to, "train"), 0o700) },
		messages:    messages, now: func() time.Time { clock = clock.Add(time.Minute); return clock },
	}
}

var few = []setting{{name: "a", overrides: []string{"batch=16"}}, {name: "b", overrides: []string{"batch=24"}}}

func TestSweepMakesWhatIsMissing(t *testing.T) {
	t.Setenv("SWEEP_FAKE", "run")
	var messages bytes.Buffer
	s := start(t, &messages)
	for _, c := range []struct {
		seeds []int
		want  string
	}{{[]int{2}, "a2 b2"}, {[]int{1, 2, 3}, "a1 b1 a3 b3"}, {[]int{1, 2, 3}, ""}} {
		tasks, err := s.plan(few, c.seeds)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, task := range tasks {
			got = append(got, fmt.Sprint(task.setting.name, task.seed))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("seeds %v: %v are missing, want %s", c.seeds, got, c.want)
		}
		if err := s.runAll(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
	}
	all, err := load(s.results)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	for k, r := range all { // the first run of a seed measures what all of its runs are compared with
		if got, want := r.Probe.Teacher != nil, k.setting == "a"; got != want {
			t.Errorf("%v: the teacher is measured: %v, want %v", k, got, want)
		}
	}
	r := all[key{"b", 3}]
	train := "--set dataset.train=file://" + filepath.Join(s.cache, "fashion-mnist-full", "train")
	for _, part := range []string{"run testdata/job.yaml --json", "--set seed=3", "--set batch=24", train} {
		if !strings.Contains(r.WeightsSHA256, part) { // the fake's arguments
			t.Errorf("the coordinator was called with %q, without %q", r.WeightsSHA256, part)
		}
	}
	if r.Steps != 40 || r.Epochs != 2 || !slices.Equal(r.Overrides, few[1].overrides) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(messages.String(), "[1/4] a, seed 1\n") ||
		!strings.Contains(messages.String(), "about 3m0s left") {
		t.Errorf("messages:\n%s", &messages)
	}
}

func TestSweepGoesOnAfterAFailure(t *testing.T) {
	t.Setenv("SWEEP_FAKE", "run")
	t.Setenv("SWEEP_FAIL", "batch=16")
	s := start(t, &bytes.Buffer{})
	tasks, err := s.plan(few, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.runAll(t.Context(), tasks); err == nil || !strings.Contains(err.Error(), "1 of 2 runs failed") {
		t.Errorf("an error of %v", err)
	}
	if tasks, err = s.plan(few, []int{1}); err != nil || len(tasks) != 1 || tasks[0].setting.name != "a" {
		t.Errorf("%v are missing after a failure (%v)", tasks, err)
	}
	tasks, err = s.plan(few[:1], []int{1, 2, 3, 4, 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.runAll(t.Context(), tasks); err == nil || !strings.Contains(err.Error(), "collapsed") {
		t.Errorf("three failures in a row: %v", err)
	}
}

func TestSweepIsInterrupted(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	t.Setenv("SWEEP_READY", ready)
	t.Setenv("SWEEP_FAKE", "wait")
	s := start(t, &bytes.Buffer{})
	tasks, err := s.plan(few, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := os.Stat(ready); err == nil || ctx.Err() != nil {
				cancel()
				return
			}
		}
	}()
	defer cancel()
	if err := s.runAll(ctx, tasks); err == nil || !strings.Contains(err.Error(), "interrupted; 0 of 2") {
		t.Errorf("an error of %v", err)
	}
	if all, err := load(s.results); err != nil || len(all) != 0 {
		t.Errorf("%d results, %v", len(all), err)
	}
}

func TestSweepRefuses(t *testing.T) {
	s := start(t, &bytes.Buffer{})
	if _, err := s.plan([]setting{{name: "odd", overrides: []string{"nothing=1"}}}, []int{1}); err == nil ||
		!strings.Contains(err.Error(), "setting odd") {
		t.Errorf("an unknown key: %v", err)
	}
	for _, only := range []string{"no such setting", "("} {
		if _, err := choose(only); err == nil {
			t.Errorf("--only %s was accepted", only)
		}
	}
	s.data = func(context.Context, string) error { return errors.New("no images") }
	if err := s.runAll(t.Context(), []task{{few[0], 1}}); err == nil || !strings.Contains(err.Error(), "no images") {
		t.Errorf("no dataset: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.cache, "fashion-mnist-full")); err == nil {
		t.Error("a part of a dataset counts as one")
	}
}

func TestRender(t *testing.T) {
	folder := t.TempDir()
	from, page := filepath.Join(folder, "sweep.jsonl"), filepath.Join(folder, "loss.md")
	for _, v := range []struct {
		name  string
		seed  int
		probe float64
	}{
		{"kl_t1", 1, 0.84},
		{"kl_t1", 2, 0.86},
		{"kl_t4", 1, 0.9},
		{"kl_t4", 1, 0.83},
		{"l2_logits", 1, 0.8},
		{"mi_logits", 1, 0.851},
		{"mi_logits", 2, 0.859},
		{"mi_g8_kl3", 1, 0.87},
		{"l2_logits", 3, 0.82}, // no other has this seed
		{"l2_pooled", 1, 0.875},
		{"mi_g8_kl_logits", 1, 0.88},
		{"cross_entropy", 3, 0.9},
		{"a setting of the past", 1, 0.99},
	} {
		if err := add(from, result{
			Setting: v.name, Seed: v.seed, Steps: 1170, Probe: accuracies(v.probe, 0.93, 0.7),
			KNN: accuracies(v.probe-0.01, 0.92, 0.6), MutualInformation: 1.5, UsedClasses: 10,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(page, []byte("# Above\n"+beginMarker+"\nold\n"+endMarker+"\nbelow\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := renderPage(page, from); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/rendered.md"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the page is (%v)\n%s", err, got)
	}
	if err := os.WriteFile(page, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := renderPage(page, from); err == nil || !strings.Contains(err.Error(), beginMarker) {
		t.Errorf("a page without markers: %v", err)
	}
}

// The page in docs has the tables of the results in docs.
func TestPageIsCurrent(t *testing.T) {
	old, err := os.ReadFile("../../docs/loss.md")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "loss.md")
	if err := os.WriteFile(page, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := renderPage(page, "../../docs/sweep.jsonl"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(page); err != nil || !bytes.Equal(got, old) {
		t.Errorf("docs/loss.md is not what docs/sweep.jsonl gives (%v); run go run ./internal/sweep --render", err)
	}
}
