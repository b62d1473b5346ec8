package testcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pupil/internal/kernel"
	"pupil/internal/testcluster"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Clean()
	os.Exit(code)
}

// demo is the job of `make demo`, shortened: a smaller student, 12 steps of 64 images in 8 lanes. Its epoch has 93 steps;
// the tests that stop do so in the middle of one.
const demo = "deploy/examples/fashion.yaml"

func short(t *testing.T, steps int, more ...string) []string {
	t.Helper()
	return append([]string{
		"--set", "steps=" + strconv.Itoa(steps), "--set", "batch=64", "--set", "student.width=0.25",
		"--set", "dataset.test=", "--set", "checkpoint.every=5",
		"--storage", filepath.Join(t.TempDir(), "run"),
	}, more...)
}

// Proof 1: the weights, m and d do not depend on the number of workers, nor on their threads. With 3 workers the 8 lanes
// are shared unevenly; with 9 one has none.
func TestSameWeightsForAnyCluster(t *testing.T) {
	const steps = 12
	var want string
	for _, c := range []struct{ workers, threads int }{{1, 1}, {1, 2}, {2, 1}, {2, 2}, {3, 1}, {9, 1}} {
		s := testcluster.Run(t, demo, short(t, steps, "--workers", strconv.Itoa(c.workers), "--threads", strconv.Itoa(c.threads))...)
		if s.Steps != steps || len(s.WeightsSHA256) != 64 {
			t.Fatalf("%d workers: summary %+v", c.workers, s)
		}
		if want == "" {
			want = s.WeightsSHA256
		}
		if s.WeightsSHA256 != want {
			t.Errorf("%d workers with %d threads: weights %.16s, want %.16s", c.workers, c.threads, s.WeightsSHA256, want)
		}
	}
	other := testcluster.Run(t, demo, short(t, steps, "--workers", "2", "--set", "seed=2")...)
	if other.WeightsSHA256 == want {
		t.Error("another seed gave the same weights")
	}
}

// TestDataPlanes: the weights do not depend on the way of the sums either, through three generations with credentials of their
// own.
func TestDataPlanes(t *testing.T) {
	const steps = 16
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "3", "--data-plane", "broker")...)
	for plane, flags := range map[string][]string{"local": nil, "mesh": {"--data-plane", "mesh"}} {
		t.Run(plane, func(t *testing.T) {
			job := testcluster.Start(t, demo, short(t, steps, append(flags, "--workers", "3")...)...)
			pid := workerPID(t, job, "worker-1 started")
			waitForStep(t, job, 4)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			got, messages, code := job.Wait(t)
			if code != 0 || got.WeightsSHA256 != want.WeightsSHA256 || got.Steps != steps {
				t.Fatalf("exit code %d, %d steps, weights %.16s, want %.16s\n%s", code, got.Steps, got.WeightsSHA256,
					want.WeightsSHA256, messages)
			}
			log, err := os.ReadFile(filepath.Join(got.Folder, "logs", "worker-0.log"))
			if err != nil {
				t.Fatal(err)
			}
			for _, generation := range []string{"1", "2", "3"} {
				expect(t, string(log), "msg=training.* generation="+generation+" .*data_plane="+plane)
			}
		})
	}
}

// pooled is a loss of several terms over two heads: mutual information of standardised pooled features in permuted groups
// through a projection, beside L2, KL and labels, with a ramp, an average of the weights and nested views.
var pooled = []string{
	"--set", `loss=[{features: pooled, feature_groups: 16, feature_order: permuted, posterior: mixture},
		{name: l2, features: pooled, ramp: {from: 0, end: 0.5}}, {name: kl}, {name: cross_entropy, weight: 0.1}]`,
	"--set", "average.decay=0.9", "--set", "optimizer.clip_norm=1", "--set", "views.policy=nested", "--set", "health.rank_every=4",
}

// The same for a loss of several terms: moments of the teacher, projection, average and effective rank included.
func TestSeveralTerms(t *testing.T) {
	const steps = 12
	want := testcluster.Run(t, demo, short(t, steps, append(pooled, "--workers", "1")...)...)
	if rank := want.Health["effective_rank"]; rank < 1 || rank > 64 {
		t.Errorf("effective rank %v of 64 images", rank)
	}
	args := short(t, steps, append(pooled, "--workers", "2")...)
	first := testcluster.Start(t, demo, args...)
	waitForStep(t, first, 2)
	if err := first.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if stopped, messages, code := first.Wait(t); code != 1 || stopped.Outcome != "stopped" {
		t.Fatalf("after Ctrl-C: exit code %d, summary %+v\n%s", code, stopped, messages)
	}
	got := testcluster.Run(t, demo, append(args[:len(args)-1:len(args)-1], "3", "--resume")...)
	if got.WeightsSHA256 != want.WeightsSHA256 || got.Health["effective_rank"] != want.Health["effective_rank"] {
		t.Errorf("resumed with 3 workers: weights %.16s and rank %v, want %.16s and %v", got.WeightsSHA256,
			got.Health["effective_rank"], want.WeightsSHA256, want.Health["effective_rank"])
	}
}

func TestViews(t *testing.T) {
	b := testcluster.Build(t)
	sheet := filepath.Join(t.TempDir(), "views.png")
	for _, c := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{demo, "--out", sheet, "--images", "3", "--views", "2", "--set", "views.strength=2"}, 0, "3 images"},
		{[]string{demo, "--out", sheet + ".jpg"}, 2, `ends in .png`},
		{[]string{demo, "--out", filepath.Join(sheet, "no", "folder.png")}, 2, `there is no folder`},
		{[]string{demo, "--set", "views.strength=0.5"}, 2, `views.strength`},
	} {
		cmd := exec.CommandContext(t.Context(), b.Coordinator, append([]string{"views"}, c.args...)...)
		cmd.Dir = testcluster.Root()
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("views %v: exit code %d, want %d", c.args, code, c.code)
		}
		expect(t, string(out), c.message)
	}
	f, err := os.Open(sheet)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m, err := png.DecodeConfig(f); err != nil || m.Width < 5*112 || m.Height < 3*112 {
		t.Errorf("the sheet of 3 rows and 5 columns is %d x %d, error %v", m.Width, m.Height, err)
	}
}

// Proof 2: stopped in the middle of an epoch by Ctrl-C and resumed with another number of workers.
func TestResumeGivesTheSameWeights(t *testing.T) {
	const steps = 30
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "1")...)

	args := short(t, steps, "--workers", "2")
	first := testcluster.Start(t, demo, args...)
	waitForStep(t, first, 7)
	if err := first.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	stopped, messages, code := first.Wait(t)
	if code != 1 || stopped.Outcome != "stopped" || stopped.Steps < 7 || stopped.Steps >= steps {
		t.Fatalf("after Ctrl-C: exit code %d, summary %+v\n%s", code, stopped, messages)
	}
	expect(t, messages, `--resume`)

	resumed := testcluster.Run(t, demo, append(args[:len(args)-1:len(args)-1], "3", "--resume")...)
	if resumed.Steps != steps || resumed.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("resumed: %d steps, weights %.16s; want %d, %.16s", resumed.Steps, resumed.WeightsSHA256, steps, want.WeightsSHA256)
	}
}

// Proof 6: a worker that is killed does no harm. The others go on with its lanes, a new process joins the run in its
// place, and the weights are those of the quiet run. When none is left and none shall follow, the job ends with a clear
// message, and can be resumed.
func TestKilledWorker(t *testing.T) {
	const steps = 30
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "2")...)

	job := testcluster.Start(t, demo, short(t, steps, "--workers", "3")...)
	pid := workerPID(t, job, "worker-1 started")
	waitForStep(t, job, 7)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got, messages, code := job.Wait(t)
	if code != 0 || got.Steps != steps || got.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("with a worker killed: exit code %d, %d steps, weights %.16s; want 0, %d, %.16s\n%s", code, got.Steps,
			got.WeightsSHA256, steps, want.WeightsSHA256, messages)
	}
	expect(t, messages, `worker-1: lost: .*killed by signal 9`)
	expect(t, messages, `generation 2: 8 lanes on 2 workers`)
	expect(t, messages, `to take in worker-1`)

	args := short(t, steps, "--workers", "1", "--respawn", "0")
	job = testcluster.Start(t, demo, args...)
	pid = workerPID(t, job, "worker-0 started")
	waitForStep(t, job, 7)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, messages, code = job.Wait(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	expect(t, messages, `no worker is left; worker-0: .*killed by signal 9`)
	expect(t, messages, `--resume`)
	resumed := testcluster.Run(t, demo, append(args, "--resume")...)
	if resumed.Steps != steps || resumed.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("resumed: %d steps, weights %.16s; want %d, %.16s", resumed.Steps, resumed.WeightsSHA256, steps, want.WeightsSHA256)
	}
}

// workerPID is the process of a line of the messages.
func workerPID(t *testing.T, job *testcluster.Job, text string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	line, err := job.WaitFor(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(regexp.MustCompile(`pid[ =](\d+)`).FindStringSubmatch(line)[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestCoordinatorKilled kills the coordinator: its worker ends by itself, and the run goes on from its folder.
func TestCoordinatorKilled(t *testing.T) {
	const steps = 30
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "1")...)
	args := short(t, steps, "--workers", "1")
	job := testcluster.Start(t, demo, args...)
	waitForStep(t, job, 7)
	if err := job.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, _, code := job.Wait(t); code == 0 {
		t.Error("a killed coordinator ended with exit code 0")
	}
	resumed := testcluster.Run(t, demo, append(args, "--resume")...)
	if resumed.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("resumed: weights %.16s, want %.16s", resumed.WeightsSHA256, want.WeightsSHA256)
	}
}

// TestInterruptedEvaluation stops the evaluation that follows the training; --resume makes it, and trains no more.
func TestInterruptedEvaluation(t *testing.T) {
	args := append(short(t, 3, "--workers", "2"), "--set", "dataset.test=fashion-mnist/test")
	job := testcluster.Start(t, demo, args...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := job.WaitFor(ctx, "evaluating"); err != nil {
		t.Fatal(err)
	}
	if err := job.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	trained, messages, code := job.Wait(t)
	if code != 1 || trained.Steps != 3 || len(trained.WeightsSHA256) != 64 || trained.KNN.Student != nil {
		t.Errorf("exit code %d, want 1; summary %+v\n%s", code, trained, messages)
	}
	expect(t, messages, "evaluation was interrupted.*--resume")
	s := testcluster.Run(t, demo, append(args, "--resume")...)
	if s.Steps != 3 || s.KNN.Student == nil || s.Loss == 0 || len(s.WeightsSHA256) != 64 {
		t.Errorf("resumed: %+v", s)
	}
}

// TestReaderGone ends the reader of a run's messages, as Ctrl-C ends a tee, and hangs up: the run saves and ends as always.
func TestReaderGone(t *testing.T) {
	messages, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Close()
	args := short(t, 1000, "--workers", "1")
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Coordinator, append([]string{"run", demo, "--json"}, args...)...)
	var result bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = testcluster.Root(), &result, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	for lines := bufio.NewScanner(messages); lines.Scan() && !strings.Contains(lines.Text(), "step 1 of"); {
	}
	messages.Close()
	end := syscall.SIGHUP
	if signal.Ignored(end) { // under nohup; the run inherits it
		end = syscall.SIGTERM
	}
	if err := cmd.Process.Signal(end); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var s testcluster.Summary
	if e := json.Unmarshal(result.Bytes(), &s); e != nil || s.Outcome != "stopped" || len(s.WeightsSHA256) != 64 {
		t.Errorf("summary %+v (%v), end %v", s, e, err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// TestOtherKernels resumes with kernels that give other bits, which is refused.
func TestOtherKernels(t *testing.T) {
	args := short(t, 6, "--workers", "1")
	t.Setenv("PUPIL_KERNEL", "generic")
	job := testcluster.Start(t, demo, args...)
	waitForStep(t, job, 2)
	if err := job.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s, messages, _ := job.Wait(t); s.Outcome != "stopped" {
		t.Fatalf("summary %+v\n%s", s, messages)
	}
	t.Setenv("PUPIL_KERNEL", "auto")
	_, messages, code := testcluster.Start(t, demo, append(args, "--resume")...).Wait(t)
	if kernel.Name() == "generic" { // this machine has no others
		if code != 0 {
			t.Errorf("exit code %d\n%s", code, messages)
		}
		return
	}
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	expect(t, messages, "made with generic kernels.*PUPIL_KERNEL")
}

// TestWorkerRefuses: a worker's process that says what is wrong with its setting is heard, and not started again.
func TestWorkerRefuses(t *testing.T) {
	t.Setenv("PUPIL_KERNEL", "sse")
	_, messages, code := testcluster.Start(t, demo, short(t, 2, "--workers", "1")...).Wait(t)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	expect(t, messages, `coordinator: .*exit code 2: worker: unknown kernel "sse"; choose one of .*generic`)
	if n := strings.Count(messages, "worker-0 started"); n != 1 {
		t.Errorf("the worker was started %d times:\n%s", n, messages)
	}
}

func TestWrongUse(t *testing.T) {
	storage := filepath.Join(t.TempDir(), "run")
	for name, c := range map[string]struct {
		args    []string
		code    int
		message string
	}{
		"unknown key":       {[]string{"--set", "learning_rat=1"}, 2, `learning_rat`},
		"lanes":             {[]string{"--set", "lanes=7"}, 2, `batch.*7|lanes.*7`},
		"workers":           {[]string{"--workers", "0"}, 2, `workers`},
		"nothing to resume": {[]string{"--resume"}, 2, `no run to resume`},
		"data plane":        {[]string{"--data-plane", "mash"}, 2, `--data-plane.*"mash".*local, mesh or broker`},
		"unknown flag":      {[]string{"--wrokers", "2"}, 2, `wrokers`},
		"missing data":      {[]string{"--set", "dataset.train=/nowhere"}, 2, `dataset.train`},
	} {
		t.Run(name, func(t *testing.T) {
			_, messages, code := testcluster.Start(t, demo, append([]string{"--storage", storage + name}, c.args...)...).Wait(t)
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, messages)
			}
			expect(t, messages, c.message)
			if _, err := os.Stat(storage + name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a run folder: %v", err)
			}
		})
	}
}

func waitForStep(t *testing.T, j *testcluster.Job, step int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := j.WaitFor(ctx, fmt.Sprintf("step %d of", step)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, messages, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(messages) {
		t.Errorf("no line matches %q in:\n%s", pattern, messages)
	}
}
