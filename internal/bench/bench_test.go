package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/internal/contest"
	"pupil/worker/nn"
)

// tiny is a pair whose step takes milliseconds.
var tiny = pair{
	name:    "tiny",
	teacher: nn.Config{Architecture: "resnet10_cifar", Width: 0.125, Outputs: 4, Size: 16, Channels: 3},
	student: nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.25, Outputs: 4, Size: 16, Channels: 3},
	batch:   16,
}

// TestMain is PyTorch's side of the tests when BENCH_FAKE says how it behaves, and our side of a memory case.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("BENCH_FAKE") == "":
		os.Exit(m.Run())
	case len(os.Args) > 1 && os.Args[1] == "peak":
		fmt.Println(`{"growth": 2097152}`)
		os.Exit(0)
	}
	log, err := os.OpenFile(os.Getenv("BENCH_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(4)
	}
	layout := ""
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var c struct {
			Do      string            `json:"do"`
			Layouts map[string]string `json:"layouts"`
		}
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			os.Exit(5)
		}
		fmt.Fprint(log, c.Do, " ")
		if len(c.Layouts) > 0 {
			layout = c.Layouts[student]
		}
		fmt.Println(fakeAnswer(c.Do, layout))
	}
	os.Exit(0)
}

// fakeAnswer is what the fake says to a command.
func fakeAnswer(do, layout string) string {
	switch os.Getenv("BENCH_FAKE") + " " + do {
	case "missing prepare":
		return `{"error": "Python has no torch", "missing": "torch"}`
	case "fault choose":
		return `{"error": "RuntimeError: out of memory"}`
	case "dies check":
		fmt.Fprintln(os.Stderr, "Traceback\nKilled by the test")
		os.Exit(3)
	}
	growths := map[string]string{"contiguous": "5242880", "channels_last": "4194304"}
	return map[string]string{
		"prepare": `{"torch": "1.13", "torchvision": "0.14", "threads": 1}`,
		"check":   `{"values": ` + os.Getenv("BENCH_VALUES") + `}`,
		"choose": `{"layouts": {"teacher": "contiguous", "student": "channels_last"}, ` +
			`"seconds": {"teacher": {"contiguous": 1, "channels_last": 2}}}`,
		"run":    `{"cpu": 3600, "wall": 7200}`,
		"memory": `{"growth": ` + growths[layout] + `}`,
		"begin":  `{}`, "use": `{}`, "decode": `{}`,
	}[do]
}

// newBench is a bench whose PyTorch is the fake, and the file of the commands that it gets.
func newBench(t *testing.T, fake string) (b *bench, log string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log = filepath.Join(t.TempDir(), "log")
	t.Setenv("BENCH_FAKE", fake)
	t.Setenv("BENCH_LOG", log)
	b = &bench{
		python: self, script: "fake", folder: t.TempDir(), limit: time.Hour, clock: clockAuto,
		out: new(bytes.Buffer), messages: new(bytes.Buffer), models: map[string]*models{},
		layouts: map[string]map[string]string{}, threads: func(n int) int { return n },
	}
	return b, log
}

// rightValues lets the fake say what our side computes.
func rightValues(t *testing.T, b *bench, c benchmark) {
	t.Helper()
	var m *models
	var err error
	if c.kind != oneKernel {
		if m, err = b.modelsOf(c.pair); err != nil {
			t.Fatal(err)
		}
	}
	w, err := ourWork(c, m)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	values, err := w.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_VALUES", string(text))
}

func measureTiny(t *testing.T, b *bench, c benchmark) *result {
	t.Helper()
	if c.kind != memory {
		rightValues(t, b, c)
	}
	r, err := b.measure(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func TestTimes(t *testing.T) {
	b, log := newBench(t, "right")
	one := benchmark{name: "one", kind: step, pair: tiny, threads: 1, pairs: 3, runs: 2}
	two := benchmark{name: "two", kind: step, pair: tiny, threads: 2, pairs: 2, runs: 1}
	infer := benchmark{name: "infer", kind: inference, network: student, pair: tiny, threads: 1, pairs: 2, runs: 2}
	for _, c := range []struct {
		benchmark
		clock string
		peer  float64 // seconds of a run
	}{{one, clockCPU, 1800}, {two, clockWall, 7200}, {infer, clockCPU, 1800}} {
		r := measureTiny(t, b, c.benchmark)
		if len(r.Pairs) != c.pairs || r.Clock != c.clock || r.Peer != c.peer || r.Unit != "s" {
			t.Errorf("%s: %d pairs by the %s clock, PyTorch's %v %s; want %d, %s, %v s", c.name, len(r.Pairs), r.Clock, r.Peer,
				r.Unit, c.pairs, c.clock, c.peer)
		}
		if !(0 < r.Ours && r.Ours < 60 && r.Lowest <= r.Ratio && r.Ratio <= r.Highest && r.Lowest > 1) {
			t.Errorf("%s: ours %v, ratio %v in [%v, %v]", c.name, r.Ours, r.Ratio, r.Lowest, r.Highest)
		}
		if r.Layouts[teacher] != "contiguous" || r.Layouts[student] != "channels_last" {
			t.Errorf("%s: layouts %v", c.name, r.Layouts)
		}
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// The second step takes the layouts of the first, and warms up.
	want := "prepare begin check choose run run run " +
		"prepare begin check use run run run " +
		"prepare begin check choose run run "
	if string(got) != want {
		t.Errorf("commands:\n%s\nwant\n%s", got, want)
	}
	if b.torch.Torch != "1.13" {
		t.Errorf("versions: %+v", b.torch)
	}
}

func TestMemory(t *testing.T) {
	b, _ := newBench(t, "right")
	r := measureTiny(t, b, benchmark{name: "memory", kind: memory, pair: tiny, threads: 1, pairs: 2, runs: 2})
	if want := "memory\t2.0 MiB\t4.0 MiB\t2.00\t2.00\t2.00"; r.line() != want {
		t.Errorf("line %q, want %q", r.line(), want)
	}
	if r.Layouts[student] != "channels_last" {
		t.Errorf("layouts %v; the smaller is channels_last", r.Layouts)
	}
}

// A process's growth holds at least the gradients, both moments and the activations, which are all written.
func TestPeak(t *testing.T) {
	c := benchmark{name: "peak", kind: memory, pair: tiny, threads: 1}
	m, err := newModels(tiny, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g, err := peak(t.Context(), c, m.folder, 2)
	if err != nil {
		t.Fatal(err)
	}
	if least := int64(3 * 4 * len(m.studentState.Params)); g.Growth < least || g.Growth > 1<<30 {
		t.Errorf("growth of %d bytes; gradients and moments alone have %d", g.Growth, least)
	}
}

func TestLimit(t *testing.T) {
	b, _ := newBench(t, "right")
	b.limit, b.pairs = time.Nanosecond, 5
	r := measureTiny(t, b, benchmark{name: "one", kind: step, pair: tiny, threads: 1, pairs: 3, runs: 1})
	if len(r.Pairs) != 1 || !strings.Contains(b.messages.(*bytes.Buffer).String(), "1 of 5 pairs") {
		t.Errorf("%d pairs; messages:\n%s", len(r.Pairs), b.messages)
	}
}

// Lanes share the batch: one lane or two, the first step sees the same images.
func TestOurStepLearns(t *testing.T) {
	m, err := newModels(tiny, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 2} {
		o, err := newOurStep(m, threads)
		if err != nil {
			t.Fatal(err)
		}
		values, err := o.check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !(values[0] < 0 && values[1] > 0) { // minus a mutual information, which grows
			t.Errorf("%d threads: loss %v, lower by %v after a step", threads, values[0], values[1])
		}
		if err := o.run(t.Context(), 3); err != nil || len(o.control.losses) != 3 {
			t.Errorf("%d threads: %d steps of 3, error %v", threads, len(o.control.losses), err)
		}
		o.close()
	}
	if _, err := newOurStep(m, 3); err == nil {
		t.Error("16 images were cut into 3 lanes")
	}
}

func TestModelsRoundTrip(t *testing.T) {
	m, err := newModels(tiny, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	back, err := readModels(tiny, m.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{teacher, student} {
		_, s, images := m.network(name)
		_, again, read := back.network(name)
		if !slices.Equal(s.Params, again.Params) || !slices.Equal(s.Buffers, again.Buffers) || !slices.Equal(images, read) {
			t.Errorf("the %s is another one after writing and reading", name)
		}
	}
	if err := os.Truncate(back.file(student, "images"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := readModels(tiny, m.folder); err == nil || !strings.Contains(err.Error(), "10 bytes") {
		t.Errorf("a short file of images: %v", err)
	}
}

func TestFaults(t *testing.T) {
	c := benchmark{name: "one", kind: step, pair: tiny, threads: 1, pairs: 1, runs: 1}
	for fake, want := range map[string]string{
		"missing": "apt-get install python3-torch python3-torchvision",
		"fault":   "choose: RuntimeError: out of memory",
		"dies":    "at check: exit status 3: Traceback; Killed by the test",
	} {
		t.Run(fake, func(t *testing.T) {
			b, _ := newBench(t, fake)
			rightValues(t, b, c)
			if _, err := b.measure(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
	t.Run("other figures", func(t *testing.T) {
		b, _ := newBench(t, "right")
		t.Setenv("BENCH_VALUES", "[1, 2]")
		if _, err := b.measure(t.Context(), c); err == nil || !strings.Contains(err.Error(), "do not compute the same") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		b, _ := newBench(t, "right")
		rightValues(t, b, c)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.measure(ctx, c); err == nil {
			t.Error("no error")
		}
	})
}

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		ours, theirs []float64
		right        bool
	}{
		{[]float64{-1, 2}, []float64{-1.001, 2.03}, true},
		{[]float64{-1, 2}, []float64{-1.02, 2}, false},
		{[]float64{-1, 2}, []float64{-1, 2.2}, false},
		{[]float64{-1, 2}, []float64{-1, -2}, false},
		{[]float64{-1}, []float64{-1, 2}, false},
		{[]float64{nan(), 2}, []float64{nan(), 2}, false},
	} {
		if err := agree(c.ours, c.theirs, [2]float64{1e-2, 5e-2}); (err == nil) != c.right {
			t.Errorf("%v and %v: %v", c.ours, c.theirs, err)
		}
	}
}

func nan() float64 { return contest.Median(nil) }

func TestSummary(t *testing.T) {
	r := result{Name: "step32.t1", Unit: "s", Clock: clockCPU}
	for _, p := range [][2]float64{{1, 3}, {2, 5}, {1, 2}, {4, 4}} {
		r.Pairs = append(r.Pairs, sample{measured{cost: cost{CPU: p[0]}}, measured{cost: cost{CPU: p[1]}}})
	}
	r.summarise()
	if want := "step32.t1\t1.5000 s\t3.5000 s\t2.25\t1.00\t3.00"; r.line() != want {
		t.Errorf("line %q, want %q", r.line(), want)
	}
}

func TestCommand(t *testing.T) {
	run := func(args ...string) (string, error) {
		cmd := command()
		out := new(bytes.Buffer)
		cmd.SetOut(out)
		cmd.SetErr(out)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := run("--list", "--only", "32")
	var names []string
	for line := range strings.Lines(out) {
		names = append(names, strings.Fields(line)[0])
	}
	if want := []string{"step32.t1", "step32.t2", "step32.decode.t1", "step32.decode.t2", "memory.step32"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("list %v, error %v, want %v", names, err, want)
	}
	for want, args := range map[string][]string{
		"no case matches; there are step32.t1": {"--only", "nothing"},
		"--only: error parsing":                {"--only", "("},
		"--pairs is -1":                        {"--pairs", "-1"},
		"--limit is 0s":                        {"--limit", "0s"},
		`--clock is "sun"`:                     {"--clock", "sun"},
		"start this in the repository's":       nil, // tests run in the package's folder
		"there is no case x":                   {"peak", "x", ".", "1"},
	} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", args, err, want)
		}
	}
	b := &bench{script: "main.go", python: "no-such-python"}
	if err := b.ready(); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("a Python that is not there: %v", err)
	}
}

func TestReport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bench.json")
	r := newReport("bench")
	r.Results = []result{{Name: "memory.step32", Unit: "MiB", Pairs: []sample{{measured{Bytes: 1}, measured{Bytes: 2}}}}}
	if err := contest.Write(name, r); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || back.Results[0].Pairs[0].Peer.Bytes != 2 || back.CPU == "" {
		t.Errorf("after reading: %+v, error %v", back, err)
	}
}
