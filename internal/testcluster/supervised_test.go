package testcluster_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pupil/internal/testcluster"
)

const labelled = "deploy/examples/fashion-teacher.yaml"

// TestSupervised trains networks on labels, without a teacher, with each kind of optimiser and schedule that the demo does not have,
// clipping and an average of the weights: as one worker, and as two that are stopped and go on as three. The same weights. What
// they have trained is then a teacher.
func TestSupervised(t *testing.T) {
	const steps = 30
	for name, settings := range map[string][]string{
		"lars": {
			"--set", "student={architecture: mobilenet_v3_small, width: 0.25, size: 32, channels: 1}",
			"--set", "optimizer={name: lars, learning_rate: 0.5, momentum: 0.9, clip_norm: 5}",
			"--set", "schedule={name: one_cycle, warmup: 0.1}", "--set", "average={decay: 0.9}",
		},
		"nesterov": {
			"--set", "student={architecture: resnet18_cifar, width: 0.125, size: 28, channels: 1}",
			"--set", "optimizer={name: sgd, learning_rate: 0.1, momentum: 0.9, nesterov: true}",
			"--set", "schedule={name: step, milestones: [0.4, 0.8]}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := func(workers string) []string {
				return append([]string{
					"--set", "dataset={train: fashion-mnist/train, test: ''}", "--set", "epochs=0", "--set", "steps=" + strconv.Itoa(steps), "--set", "batch=64",
					"--storage", filepath.Join(t.TempDir(), "run"), "--workers", workers,
				}, settings...)
			}
			want := testcluster.Run(t, labelled, args("1")...)
			if want.Steps != steps || len(want.WeightsSHA256) != 64 {
				t.Fatalf("summary %+v", want)
			}
			again := args("2")
			first := testcluster.Start(t, labelled, again...)
			waitForStep(t, first, 2)
			if err := first.Cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if stopped, messages, code := first.Wait(t); code != 1 || stopped.Outcome != "stopped" {
				t.Fatalf("after Ctrl-C: exit code %d, summary %+v\n%s", code, stopped, messages)
			}
			got := testcluster.Run(t, labelled, append(again, "--resume", "--workers", "3")...)
			if got.Steps != steps || got.WeightsSHA256 != want.WeightsSHA256 {
				t.Errorf("stopped and resumed: %d steps, weights %.16s, want %.16s", got.Steps, got.WeightsSHA256, want.WeightsSHA256)
			}
			// The job's images are those that the teacher was trained on.
			taught := testcluster.Run(t, demo, short(t, 2, "--set", "teacher.model="+filepath.Join(got.Folder, "student"),
				"--set", "student.size="+map[string]string{"lars": "32", "nesterov": "28"}[name])...)
			if taught.Steps != 2 {
				t.Errorf("with that teacher: %+v", taught)
			}
		})
	}
}
