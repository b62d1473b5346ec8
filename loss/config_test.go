package loss_test

import (
	"math"
	"strings"
	"testing"

	"pupil/loss"
)

// TestConfigFaults: every fault is named with its field and value, all at once.
func TestConfigFaults(t *testing.T) {
	mutual := func(change func(c *loss.Config)) []loss.Config {
		c := loss.DefaultConfig(loss.PriorMutualInformation)
		change(&c)
		return []loss.Config{c}
	}
	tests := []struct {
		name  string
		terms []loss.Config
		says  []string
	}{
		{"nothing", nil, []string{"no terms"}},
		{"name", []loss.Config{{Name: "l3"}}, []string{"name", "l3", loss.KL, loss.L2}},
		{"joint", mutual(func(c *loss.Config) { c.Joint = "sum" }), []string{"joint", "sum", "symmetric"}},
		{"posterior", mutual(func(c *loss.Config) { c.Posterior = "" }), []string{"posterior", "mixture"}},
		{"weight", mutual(func(c *loss.Config) { c.Weight = -1 }), []string{"weight is -1"}},
		{"temperatures", mutual(func(c *loss.Config) {
			c.TeacherTemperature, c.StudentTemperature = 0, math.Inf(1)
		}), []string{"teacher_temperature is 0", "student_temperature is +Inf"}},
		{"NaN", mutual(func(c *loss.Config) { c.Start.Share = math.NaN() }), []string{"start.share is NaN"}},
		{"distribution", mutual(func(c *loss.Config) { c.Prior.Distribution = "cauchy" }), []string{"cauchy", "laplace"}},
		{"groups", mutual(func(c *loss.Config) { c.Prior.Groups = 0 }), []string{"prior.groups is 0"}},
		{"weights", mutual(func(c *loss.Config) { c.Prior.Weights = []float64{0, 0} }), []string{"2 values for 1", "all 0"}},
		{"mean", mutual(func(c *loss.Config) { c.Prior.Mean = []float64{1, 2} }), []string{"2 values for 3 classes"}},
		{"means", mutual(func(c *loss.Config) { c.Prior.Mean = []float64{1, math.NaN(), 2} }), []string{"position 1"}},
		{"update", mutual(func(c *loss.Config) { c.Prior.Update = "adam" }), []string{"adam", "natural"}},
		{"eta", mutual(func(c *loss.Config) { c.Prior.Rate = 2 }), []string{"prior.rate is 2"}},
		{"bound", mutual(func(c *loss.Config) {
			c.Prior.Update, c.Prior.Bound = loss.UpdateMinimize, 0
		}), []string{"prior.bound is 0"}},
		{"feature groups", mutual(func(c *loss.Config) { c.FeatureGroups = 0 }), []string{"feature_groups is 0"}},
		{"uneven groups", mutual(func(c *loss.Config) { c.FeatureGroups = 2 }), []string{"3 channels", "2 feature groups"}},
		{"narrow groups", mutual(func(c *loss.Config) { c.FeatureGroups = 3 }), []string{"features of 1 classes"}},
		{"order", mutual(func(c *loss.Config) { c.FeatureOrder = "random" }), []string{"feature_order", "random", "permuted"}},
		{"ramp", mutual(func(c *loss.Config) { c.Ramp = loss.Ramp{Begin: 0.5, End: 0.5} }), []string{"ramp.end is 0.5"}},
		{"head", mutual(func(c *loss.Config) { c.Head = 1 }), []string{"head 1 of 1"}},
		{"two priors", append(mutual(func(*loss.Config) {}), mutual(func(*loss.Config) {})...), []string{"at most one"}},
		{"smoothing", []loss.Config{{
			Name: loss.CrossEntropy, Ramp: loss.Ramp{From: 1, To: 1, End: 1}, StudentTemperature: 1, LabelSmoothing: 1.5,
		}}, []string{"label_smoothing is 1.5", "[0, 1]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := single(test.terms, 3, 8)
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range test.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
	for _, size := range [][2]int{{1, 8}, {3, 0}, {3, 1<<30 + 1}} {
		if _, err := single(mutual(func(*loss.Config) {}), size[0], size[1]); err == nil {
			t.Errorf("%d classes, %d samples: no error", size[0], size[1])
		}
	}
	if (loss.PriorConfig{}).Validate() == nil {
		t.Error("an empty prior configuration: no error")
	}
}

// TestDefaultConfig is valid for every term.
func TestDefaultConfig(t *testing.T) {
	for _, name := range []string{loss.PriorMutualInformation, loss.KL, loss.L2, loss.Cosine, loss.CrossEntropy} {
		if err := loss.DefaultConfig(name).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWidths: which terms take a student that is wider than its teacher, and which need a teacher at all.
func TestWidths(t *testing.T) {
	wider, alone := []loss.Head{{Teacher: 4, Student: 6}}, []loss.Head{{Student: 6}}
	cold := loss.DefaultConfig(loss.PriorMutualInformation)
	cold.Start = loss.Start{}
	symmetric, grouped := cold, cold
	symmetric.Joint, grouped.FeatureGroups = loss.JointSymmetric, 2
	for _, test := range []struct {
		name  string
		term  loss.Config
		heads []loss.Head
		says  string // "": no error
	}{
		{"over-clustering", cold, wider, ""},
		{"with a KL start", loss.DefaultConfig(loss.PriorMutualInformation), wider, "the teacher has 4, the student 6"},
		{"symmetric", symmetric, wider, "the teacher has 4, the student 6"},
		{"grouped", grouped, wider, "the teacher has 4, the student 6"},
		{"kl", loss.DefaultConfig(loss.KL), wider, "the teacher has 4, the student 6"},
		{"l2", loss.DefaultConfig(loss.L2), wider, "the teacher has 4, the student 6"},
		{"cosine", loss.DefaultConfig(loss.Cosine), wider, "the teacher has 4, the student 6"},
		{"labels", loss.DefaultConfig(loss.CrossEntropy), alone, ""},
		{"kl alone", loss.DefaultConfig(loss.KL), alone, "no teacher"},
		{"mutual alone", cold, alone, "no teacher"},
	} {
		_, err := loss.New([]loss.Config{test.term}, test.heads, 8, 1)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.says)
		}
	}
}
