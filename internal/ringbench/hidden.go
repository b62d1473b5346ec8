package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// coordinator is the program that trains.
const coordinator = "bin/coordinator"

// target is the share of communication that should be hidden.
const target = 0.9

// trained is what a run tells of its workers' time.
type trained struct {
	Communication *struct {
		Hidden  float64 `json:"hidden"`
		Workers []struct {
			Worker   string  `json:"worker"`
			Compute  float64 `json:"compute"` // seconds, on the mean of the steps
			Exchange float64 `json:"exchange"`
			Exposed  float64 `json:"exposed"`
		} `json:"workers"`
	} `json:"communication"`
}

// training is the job: a MobileNetV2 of full width on images of 224 x 224, a lane of 16 images for each of two workers.
// Labels are enough: a teacher would compute before the backward pass only.
func training() []string {
	argv := []string{coordinator, "run", "deploy/examples/fashion.yaml", "--workers", "2", "--threads", "1", "--json"}
	for _, set := range []string{
		"teacher=null", "loss=[{name: cross_entropy}]", "student.architecture=mobilenet_v2", "student.width=1",
		"student.size=224", "batch=32", "lanes=2", "epochs=0", "steps=12", "dataset.test=",
	} {
		argv = append(argv, "--set", set)
	}
	return argv
}

// hidden trains with two workers, and compares the share of communication that was hidden with the target.
func (b *bench) hidden(ctx context.Context, argv []string) (r result, err error) {
	if _, err := os.Stat(argv[0]); errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s is not there; make build makes it", argv[0])
	}
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "--storage", b.folder+"/hidden")...)
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(messages.String()), "\n")
		return r, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.Join(lines[max(0, len(lines)-3):], "; "))
	}
	var t trained
	if err := json.Unmarshal(out, &t); err != nil {
		return r, fmt.Errorf("the run's summary: %w", err)
	}
	if t.Communication == nil {
		return r, errors.New("the run's summary has no communication")
	}
	for _, w := range t.Communication.Workers {
		b.say("  %s, a step: computed for %.3f s, gradients under way for %.3f s, %.3f s of it after the computing",
			w.Worker, w.Compute, w.Exchange, w.Exposed)
	}
	r = newResult(benchmark{training: true})
	r.Ours, r.Peer = t.Communication.Hidden, target
	r.Ratio = r.Ours / r.Peer
	r.Lowest, r.Highest = r.Ratio, r.Ratio
	return r, nil
}
