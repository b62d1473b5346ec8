package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pupil/worker/inspect"
)

// inspectWith runs the command.
func inspectWith(args ...string) (string, error) {
	cmd := inspectCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String(), err
}

func TestInspect(t *testing.T) {
	for _, test := range []struct {
		args  []string
		names []string // role, architecture
		batch int
	}{
		{[]string{"mobilenet_v3_small", "--batch", "3", "--size", "64"}, []string{"", "mobilenet_v3_small"}, 3},
		{[]string{"resnet18_cifar", "--outputs", "0", "--optimizer", "sgd"}, []string{"", "resnet18_cifar"}, 16},
		{[]string{"../deploy/examples/fashion-teacher"}, []string{"", "resnet10_cifar"}, 16},
		{
			[]string{"../deploy/examples/fashion.yaml", "--set", "batch=96", "--set", "lanes=4"},
			[]string{"student", "mobilenet_v2_cifar", "teacher", "resnet10_cifar"},
			24,
		},
	} {
		text, err := inspectWith(test.args...)
		if err != nil {
			t.Fatalf("%v: %v", test.args, err)
		}
		out, err := inspectWith(append(test.args, "--json")...)
		if err != nil {
			t.Fatalf("%v: %v", test.args, err)
		}
		var reports []inspect.Report
		if err := json.Unmarshal([]byte(out), &reports); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range reports {
			names = append(names, r.Role, r.Config.Architecture)
			if r.Batch != test.batch || (r.Training == nil) != (r.Role == "teacher") || r.Inference.Activations <= 0 {
				t.Errorf("%v: %s has %d images, training %+v", test.args, r.Role, r.Batch, r.Training)
			}
			if r.Peak.Lane <= 0 || (r.Peak.Lanes > r.Peak.Lane) != (r.Role != "") || !strings.Contains(text, "peak of a worker with 1 lane") {
				t.Errorf("%v: %s has %d lanes, and the peak %+v", test.args, r.Role, r.Lanes, r.Peak)
			}
			if last := r.Layers[len(r.Layers)-1].Name; !strings.Contains(text, "\n"+last+" ") {
				t.Errorf("%v: no row for %s in\n%s", test.args, last, text)
			}
		}
		if got, want := strings.Join(names, " "), strings.Join(test.names, " "); got != want {
			t.Errorf("%v: got %q, want %q", test.args, got, want)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"a job file":                  {},
		"no model's folder":           {"resnet19"},
		"try width 0.296875":          {"resnet18", "--width", "0.3"},
		"--size describes":            {"../deploy/examples/fashion-teacher", "--size", "32"},
		"--batch is 0":                {"resnet18", "--batch", "0"},
		"--set overrides":             {"resnet18", "--set", "lanes=2"},
		"no such file":                {"nowhere.yaml"},
		"at least 2":                  {"resnet18", "--batch", "1", "--size", "32"},
		"adamw, lars":                 {"resnet18", "--optimizer", "adam"},
		"unknown key":                 {"../deploy/examples/fashion.yaml", "--set", "lane=2"},
		"channels is 2":               {"resnet18", "--channels", "2"},
		"needs a model's folder, an ": {"a", "b"},
	} {
		if out, err := inspectWith(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q\n%s", args, err, want, out)
		}
	}
}
