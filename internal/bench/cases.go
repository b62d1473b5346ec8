package main

import (
	"fmt"
	"regexp"
	"strings"

	"pupil/worker/nn"
)

// kind is what a case measures.
type kind string

const (
	step      kind = "step"
	inference kind = "inference"
	memory    kind = "memory"
	oneKernel kind = "kernel"
)

// Names of a pair's networks.
const (
	teacher = "teacher"
	student = "student"
)

// pair is a teacher, a student and the images of a step.
type pair struct {
	name             string
	teacher, student nn.Config
	batch            int
}

// benchmark is one result's case.
type benchmark struct {
	name    string
	kind    kind
	pair    pair
	network string // of an inference: teacher or student

	operation *operation // of a kernel
	decode    bool       // of a step: images are decoded and augmented too

	threads int
	pairs   int // of runs
	runs    int // steps or batches of one side in a pair
}

var small = pair{
	name:    "32",
	teacher: nn.Config{Architecture: "resnet18_cifar", Width: 1, Outputs: 10, Size: 32, Channels: 3},
	student: nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.5, Outputs: 10, Size: 32, Channels: 3},
	batch:   64,
}

var large = pair{
	name:    "224",
	teacher: nn.Config{Architecture: "resnet50", Width: 1, Outputs: 1000, Size: 224, Channels: 3},
	student: nn.Config{Architecture: "mobilenet_v2", Width: 1, Outputs: 1000, Size: 224, Channels: 3},
	batch:   16,
}

var cases = append([]benchmark{
	{name: "step32.t1", kind: step, pair: small, threads: 1, pairs: 7, runs: 1},
	{name: "step32.t2", kind: step, pair: small, threads: 2, pairs: 7, runs: 1},
	{name: "step224.t1", kind: step, pair: large, threads: 1, pairs: 5, runs: 1},
	{name: "step224.t2", kind: step, pair: large, threads: 2, pairs: 5, runs: 1},
	{name: "step32.decode.t1", kind: step, pair: small, threads: 1, pairs: 5, runs: 2, decode: true},
	{name: "step32.decode.t2", kind: step, pair: small, threads: 2, pairs: 5, runs: 2, decode: true},
	{name: "step224.decode.t1", kind: step, pair: large, threads: 1, pairs: 3, runs: 2, decode: true},
	{name: "step224.decode.t2", kind: step, pair: large, threads: 2, pairs: 3, runs: 2, decode: true},
	{name: "infer224.teacher", kind: inference, pair: large, network: teacher, threads: 1, pairs: 7, runs: 1},
	{name: "infer224.student", kind: inference, pair: large, network: student, threads: 1, pairs: 9, runs: 3},
	{name: "memory.step32", kind: memory, pair: small, threads: 1, pairs: 2, runs: 3},
}, kernelCases()...)

// choose returns the cases whose names match a regular expression.
func choose(only string) ([]benchmark, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	var chosen []benchmark
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
		if match.MatchString(c.name) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("--only %s: no case matches; there are %s", only, strings.Join(names, ", "))
	}
	return chosen, nil
}

// about says in words what a case computes.
func (c benchmark) about() string {
	if c.kind == oneKernel {
		return c.operation.about()
	}
	p := c.pair
	where := fmt.Sprintf("batch %d of %d x %d, ", p.batch, p.student.Size, p.student.Size)
	switch {
	case c.kind == inference && c.network == teacher:
		return where + title(p.teacher) + ", 1 thread"
	case c.kind == inference:
		return where + title(p.student) + ", 1 thread"
	case c.kind == memory:
		where = "growth of the resident memory, " + where
	}
	if c.decode {
		where = "with decoding and two views, " + where
	}
	with := fmt.Sprintf("%s teaches %s, ", title(p.teacher), title(p.student))
	if c.threads == 1 {
		return where + with + "1 thread, 1 lane of the whole batch"
	}
	return where + with + fmt.Sprintf("%d threads, ours %d lanes of %d images", c.threads, c.threads, p.batch/c.threads)
}

func title(c nn.Config) string { return fmt.Sprintf("%s %g", c.Architecture, c.Width) }
