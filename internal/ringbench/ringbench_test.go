package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/internal/contest"
)

// TestMain is a rank when RINGBENCH_RANK says of what: ours, or one that stands for PyTorch's, which is the plain TCP ring
// or fails.
func TestMain(m *testing.M) {
	switch os.Getenv("RINGBENCH_RANK") {
	case "":
		os.Exit(m.Run())
	case "ours":
		if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "missing":
		bufio.NewScanner(os.Stdin).Scan()
		fmt.Println(`{"error": "Python has no torch", "missing": "torch"}`)
	case "dies":
		fmt.Fprintln(os.Stderr, "Traceback\nKilled by the test")
		os.Exit(3)
	}
	os.Exit(0)
}

// testBench runs this test binary as ranks, through env, which sets what they are.
func testBench(t *testing.T, peer string) (*bench, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	messages := &bytes.Buffer{}
	return &bench{
		program: []string{"/usr/bin/env", "RINGBENCH_RANK=ours", self}, peer: []string{"/usr/bin/env", "RINGBENCH_RANK=" + peer, self},
		folder: t.TempDir(), pairs: 3, limit: time.Minute, until: time.Now().Add(time.Hour), messages: messages,
	}, messages
}

// All ways of ours sum right in real processes, and take turns with a stand-in for PyTorch that does as well.
func TestMeasure(t *testing.T) {
	b, messages := testBench(t, "ours")
	small := []benchmark{
		{network: loopback, ranks: 2, megabytes: 1, format: int32s, way: wayLocal},
		{network: loopback, ranks: 2, megabytes: 1, format: int16s, way: wayBroker},
		{network: loopback, ranks: 2, megabytes: 1, format: int16s, way: wayMesh},
		{network: loopback, ranks: 2, megabytes: 1, format: int32s, way: wayLocal + wideWay},
		{network: loopback, ranks: 2, megabytes: 1, format: int32s, way: wayTCP},
		{network: loopback, ranks: 2, megabytes: 0, format: int32s, way: wayLocal},
	}
	settings := plan(small)
	if len(settings) != 1 || len(settings[0].cases) != 2 {
		t.Fatalf("plan: %+v", settings)
	}
	var results []result
	if err := b.measure(t.Context(), settings[0], func(r result) error {
		results = append(results, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range results {
		names = append(names, r.Name)
		if len(r.Pairs) != 3 || !(r.Ours > 0) || !(r.Peer > 0) || r.Lowest > r.Ratio || r.Ratio > r.Highest {
			t.Errorf("result %+v", r)
		}
		if r.Megabytes > 0 && !(r.Bus.Ours > 0 && r.CPU.Ours > 0 && r.CPU.Peer > 0 && r.CPURatio > 0) {
			t.Errorf("%s: bandwidth %v, CPU %v", r.Name, r.Bus, r.CPU)
		}
	}
	want := []string{
		"ring.loopback.n2.1mb.int32", "ring.loopback.n2.1mb.int16.broker", "ring.loopback.n2.1mb.int16.mesh",
		"ring.loopback.n2.1mb.int32.wide", "ring.loopback.n2.1mb.tcp", "ring.latency.256b.n2",
	}
	if !slices.Equal(names, want) {
		t.Errorf("results %q, want %q", names, want)
	}
	for _, name := range want {
		if !strings.Contains(messages.String(), name+": 3 pairs") {
			t.Errorf("the messages lack %s: %s", name, messages)
		}
	}
}

func TestFaults(t *testing.T) {
	for peer, want := range map[string]string{"missing": "apt-get install python3-torch", "dies": "Killed by the test"} {
		b, _ := testBench(t, peer)
		err := b.measure(t.Context(), plan([]benchmark{{network: loopback, ranks: 2, megabytes: 1, format: int32s, way: wayTCP}})[0], func(result) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", peer, err, want)
		}
	}
	b, _ := testBench(t, "ours")
	b.peer = []string{filepath.Join(t.TempDir(), "python3"), peerScript}
	if err := b.ready(); err == nil || !strings.Contains(err.Error(), "--python") {
		t.Errorf("without Python: %v", err)
	}
	r := &rank{vectors: map[string]*vector{}}
	for _, o := range []order{{Do: "dance"}, {Do: "open", Way: "smoke"}} {
		if _, err := r.follow(t.Context(), o); err == nil {
			t.Errorf("%+v gave no error", o)
		}
	}
}

func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.name()] {
			t.Errorf("two cases are called %s", c.name())
		}
		seen[c.name()] = true
		if !c.training && (c.times() < 1 || c.elements() < 1) || c.about() == "" {
			t.Errorf("%s: %d times %d elements, %q", c.name(), c.times(), c.elements(), c.about())
		}
	}
	for _, name := range []string{
		"ring.loopback.n4.14mb.int32", "ring.loopback.n4.14mb.int16", "ring.1gbit.n4.14mb.int32", "ring.1gbit.n4.14mb.int16",
		"ring.loopback.n8.45mb.tcp", "ring.hidden", "ring.loopback.n4.14mb.int16.broker", "ring.1gbit.n4.14mb.int32.broker", "ring.loopback.n2.1mb.int16.mesh",
		"ring.loopback.n4.14mb.int32.wide", "ring.1gbit.n4.14mb.int32.wide", "ring.latency.256b.n4",
	} {
		if !seen[name] {
			t.Errorf("there is no case %s", name)
		}
	}
	if chosen, err := choose(`n4\.14mb\.int`); err != nil || len(chosen) < 4 {
		t.Errorf("chosen %v, error %v", chosen, err)
	}
	if _, err := choose("nothing"); err == nil || !strings.Contains(err.Error(), "ring.latency.256b.n4") {
		t.Errorf("no case: %v", err)
	}
	if _, err := choose("("); err == nil {
		t.Error("a bad expression gave no error")
	}
}

// What is summed is as long as gradients are: the sums of int32 have 24 bits, but not many fewer, and those of int16 have 11 or so.
func TestGradients(t *testing.T) {
	for _, ranks := range []int{2, 3, 8} {
		for format, least := range map[string]int{int32s: 19, int16s: 10} {
			sums := make([]int64, patternLength+5)
			for rank := range ranks {
				v, err := gradients(rank, ranks, len(sums), format)
				if err != nil {
					t.Fatal(err)
				}
				for i := range sums {
					switch v := v.(type) {
					case []int32:
						sums[i] += int64(v[i])
					case []int16:
						sums[i] += int64(v[i])
					}
				}
			}
			most := max(slices.Max(sums), -slices.Min(sums))
			if n := bits.Len64(uint64(most)); n < least || n > map[string]int{int32s: 23, int16s: 15}[format] {
				t.Errorf("%s of %d ranks: the largest sum is %d, of %d bits", format, ranks, most, n)
			}
			if sums[patternLength] != sums[0] {
				t.Errorf("%s: the pattern is not repeated", format)
			}
		}
	}
}

// The plain ring sums right, whatever the lengths: parts may be empty, or end in a short piece.
func TestTCPRing(t *testing.T) {
	for size := 2; size <= 5; size++ {
		rings := make([]*tcpRing, size)
		var peers []string
		for i := range rings {
			var err error
			if rings[i], err = listenTCP("127.0.0.1"); err != nil {
				t.Fatal(err)
			}
			peers = append(peers, rings[i].address())
		}
		errs := make([]error, size)
		var all sync.WaitGroup
		for i, x := range rings {
			all.Go(func() {
				if errs[i] = x.open(t.Context(), order{Rank: i, Size: size, Peers: peers}); errs[i] != nil {
					return
				}
				r := &rank{number: i, size: size, summer: x}
				for _, n := range []int{0, 1, size - 1, size, 1000, piece*size + 5, 2*piece*size - 1} {
					errs[i] = errors.Join(errs[i], check(t.Context(), r, make([]int32, n)))
				}
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%d ranks: %v", size, err)
		}
		for _, x := range rings {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The time that is left is shared among the groups that are left, and no group may take more than its limit.
func TestShare(t *testing.T) {
	b := &bench{limit: 1000 * time.Hour, until: time.Now().Add(1000 * time.Hour), left: 2}
	if x := b.share(3); x > 500*time.Hour || x < 499*time.Hour {
		t.Errorf("the first of two has %s of 1000 hours", x)
	}
	if x := b.share(3); x > 1000*time.Hour || x < 999*time.Hour {
		t.Errorf("the last has %s of 1000 hours", x)
	}
	b.limit = time.Minute
	if x := b.share(3); x != 3*time.Minute {
		t.Errorf("three contestants with a minute each have %s", x)
	}
}

func TestHidden(t *testing.T) {
	b, messages := testBench(t, "ours")
	program := func(script string) []string {
		path := filepath.Join(t.TempDir(), "coordinator")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return []string{path, "run"}
	}
	r, err := b.hidden(t.Context(), program(`echo '{"communication": {"hidden": 0.99, "workers": [{"worker": "w", "exchange": 0.5}]}}'`))
	if want := "ring.hidden\t0.99000 share\t0.90000 share\t1.10\t1.10\t1.10"; err != nil || r.line() != want {
		t.Errorf("line %q, error %v; want %q", r.line(), err, want)
	}
	if !strings.Contains(messages.String(), "w, a step: computed for 0.000 s, gradients under way for 0.500 s") {
		t.Errorf("messages %q", messages)
	}
	for script, want := range map[string]string{
		"echo '{}'": "no communication", "echo '{'": "summary", "echo 'the job has 1 fault' >&2; exit 2": "the job has 1 fault",
	} {
		if _, err := b.hidden(t.Context(), program(script)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", script, err, want)
		}
	}
	if _, err := b.hidden(t.Context(), []string{filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without the program: %v", err)
	}
}

// wrong adds nothing up.
type wrong struct{}

func (wrong) sum(context.Context, any) error { return nil }
func (wrong) Close() error                   { return nil }

func TestCheckFindsWrongSums(t *testing.T) {
	r := &rank{number: 0, size: 2, summer: wrong{}}
	if err := check(t.Context(), r, make([]int16, 100)); err == nil || !strings.Contains(err.Error(), "element 0 of the sum") {
		t.Errorf("a wrong sum: %v", err)
	}
}

func TestReport(t *testing.T) {
	r := newResult(benchmark{network: gigabit, ranks: 4, megabytes: 14, format: int32s, way: wayMesh})
	for _, x := range []float64{0.2, 0.1, 0.4} {
		r.Pairs = append(r.Pairs, pairOf{cost{Wall: x, CPU: 0.7}, cost{Wall: 0.2, CPU: 0.14}})
	}
	r.summarise()
	if want := "ring.1gbit.n4.14mb.int32\t0.20000 s\t0.20000 s\t1.00\t0.50\t2.00"; r.line() != want {
		t.Errorf("line %q, want %q", r.line(), want)
	}
	if math.Abs(r.Bus.Ours-105) > 1e-9 || math.Abs(r.CPU.Ours-50) > 1e-9 || math.Abs(r.CPU.Peer-10) > 1e-9 {
		t.Errorf("bandwidth %v, CPU %v", r.Bus, r.CPU)
	}
	if want := "| ring.1gbit.n4.14mb.int32 | 200 ms | 200 ms | 1.00 | 0.50, 2.00 | 50.0 ms, 10.0 ms | 0.20 |\n"; r.row() != want {
		t.Errorf("row %q, want %q", r.row(), want)
	}
	table := filepath.Join(t.TempDir(), "ring.md")
	of := newReport("ringbench --only x")
	of.Results = []result{r, {Name: "ring.hidden", Unit: "share", Ours: 0.91, Peer: 0.9, Ratio: 1.01, Lowest: 1.01, Highest: 1.01}}
	if err := of.writeTable(table); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(table); err != nil || !strings.Contains(string(text), "`ringbench --only x`") ||
		!strings.HasSuffix(string(text), head+r.row()+"| ring.hidden | 0.91 | 0.90 | 1.01 | 1.01, 1.01 |  |  |\n") {
		t.Errorf("%s: %v", text, err)
	}
	file := filepath.Join(t.TempDir(), "ring.json")
	all := newReport("ringbench")
	all.Results = append(all.Results, r)
	if err := contest.Write(file, all); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || back.Results[0].Ratio != 1 || len(back.Results[0].Pairs) != 3 {
		t.Errorf("%s: %v", data, err)
	}
}
