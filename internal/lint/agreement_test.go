package lint_test

import (
	"reflect"
	"slices"
	"testing"

	"pupil/augment"
	"pupil/coordinator/job"
	"pupil/loss"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// The job file's package imports none of those that carry a job out, so what it says about them is held here.

// minimal is a job with a teacher, and what overrides add to it.
func minimal(t *testing.T, overrides ...string) *job.Spec {
	t.Helper()
	s, err := job.Decode([]byte("name: a\ndataset: {train: a}\nteacher: {model: a}\nsteps: 1\n"), "job.yaml", overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// choices returns the words that a key of the job file takes.
func choices(t *testing.T, path string) []string {
	t.Helper()
	i := slices.IndexFunc(job.Fields(), func(f job.Field) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no key %s", path)
	}
	return job.Fields()[i].Values
}

func TestJobKnowsTheArchitectures(t *testing.T) {
	if got, want := job.Architectures(), nn.Architectures(); !slices.Equal(got, want) {
		t.Errorf("job has %q, nn has %q", got, want)
	}
	for _, width := range []string{"16", "1e-3"} {
		s := minimal(t, "student.width="+width).Student
		c := nn.Config{Architecture: s.Architecture, Width: s.Width, Outputs: 10, Size: s.Size, Channels: s.Channels}
		if err := c.Validate(); err != nil {
			t.Errorf("width %s: %v", width, err)
		}
	}
}

// termOf is a job's term as package loss takes it.
func termOf(t job.Term) loss.Config {
	return loss.Config{
		Name: t.Name, Weight: t.Weight, Ramp: loss.Ramp{From: t.Ramp.From, To: t.Ramp.To, Begin: t.Ramp.Begin, End: t.Ramp.End},
		FeatureGroups: t.FeatureGroups, FeatureOrder: t.FeatureOrder, Standardize: t.Standardize,
		TeacherTemperature: t.TeacherTemperature, StudentTemperature: t.StudentTemperature,
		LabelSmoothing: t.LabelSmoothing, Joint: t.Joint, Posterior: t.Posterior,
		Prior: loss.PriorConfig{
			Distribution: t.Prior.Distribution, Groups: t.Prior.Groups, Weights: t.Prior.Weights, Mean: t.Prior.Mean,
			Deviation: t.Prior.Deviation, Update: t.Prior.Update, Rate: t.Prior.Rate, Bound: t.Prior.Bound,
		},
		Start: loss.Start{KL: t.Start.KL, Share: t.Start.Share, Hold: t.Start.Hold},
	}
}

func TestJobKnowsTheLosses(t *testing.T) {
	for _, name := range choices(t, "loss.*.name") {
		got := termOf(minimal(t, "loss.0.name="+name, "loss.0.features=logits", "loss.0.feature_groups=1").Loss[0])
		if want := loss.DefaultConfig(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the job's default is %+v, the loss's %+v", name, got, want)
		}
	}
	for _, key := range []string{"feature_order", "joint", "posterior", "prior.distribution", "prior.update"} {
		for _, word := range choices(t, "loss.*."+key) {
			if err := termOf(minimal(t, "loss.0.feature_groups=1", "loss.0."+key+"="+word).Loss[0]).Validate(); err != nil {
				t.Errorf("%s: %s: %v", key, word, err)
			}
		}
	}
}

func TestJobKnowsTheOptimizers(t *testing.T) {
	if got, want := choices(t, "optimizer.name"), optim.Names(); !slices.Equal(got, want) {
		t.Errorf("job has %q, optim has %q", got, want)
	}
	for _, name := range optim.Names() {
		o := minimal(t, "optimizer.name="+name).Optimizer
		c := optim.Config{
			Name: name, WeightDecay: o.WeightDecay, Momentum: o.Momentum, TrustCoefficient: o.TrustCoefficient,
			Beta1: o.Betas[0], Beta2: o.Betas[1], Epsilon: o.Epsilon,
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJobKnowsTheSchedules(t *testing.T) {
	if got, want := choices(t, "schedule.name"), optim.Schedules(); !slices.Equal(got, want) {
		t.Errorf("job has %q, optim has %q", got, want)
	}
	for _, name := range optim.Schedules() {
		s := minimal(t, "schedule.name="+name).Schedule
		c := optim.Schedule{
			Name: name, Peak: 1, Warmup: s.Warmup, Steps: 10, Final: s.Final, Milestones: s.Milestones, Gamma: s.Gamma,
			PctStart: s.PctStart, DivFactor: s.DivFactor, FinalDivFactor: s.FinalDivFactor,
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJobKnowsThePolicies(t *testing.T) {
	var want []string
	for _, p := range augment.Policies() {
		want = append(want, string(p))
	}
	if got := choices(t, "views.policy"); !slices.Equal(got, want) {
		t.Errorf("job has %q, augment has %q", got, want)
	}
}

// TestJobKnowsTheViews: what the job file allows at its most, augmentation takes.
func TestJobKnowsTheViews(t *testing.T) {
	for _, view := range []string{
		"{}",
		"{crop: {scale: [1e-9, 1], ratio: [0.01, 100]}, flip: 1, rotate: 180, brightness: 100}",
		"{occlude: {probability: 1, scale: [1e-9, 1], ratio: [0.01, 100], value: -1e30}}",
		"{normalize: {mean: [-1e30, 0, 1e30], std: [1e-6, 1, 1e30]}}",
	} {
		s := minimal(t, "views.student="+view)
		v := s.Views.Student
		c := augment.Config{
			Size: s.Student.Size, Channels: s.Student.Channels, Crop: augment.Crop(v.Crop), Flip: v.Flip, Rotate: v.Rotate,
			Brightness: v.Brightness, Occlude: augment.Occlude(v.Occlude),
		}
		if v.Normalize != nil {
			c.Mean, c.Std = v.Normalize.Mean, v.Normalize.Std
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", view, err)
		}
	}
}
