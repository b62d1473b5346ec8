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
		{"name", []loss.Config{{Name: "l2"}}, []string{"name", "l2", loss.KL, "student_temperature is 0"}},
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
		{"two priors", append(mutual(func(*loss.Config) {}), mutual(func(*loss.Config) {})...), []string{"at most one"}},
		{"smoothing", []loss.Config{{
			Name: loss.CrossEntropy, StudentTemperature: 1, LabelSmoothing: 1.5,
		}}, []string{"label_smoothing is 1.5", "[0, 1]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := loss.New(test.terms, 3, 8)
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
		if _, err := loss.New(mutual(func(*loss.Config) {}), size[0], size[1]); err == nil {
			t.Errorf("%d classes, %d samples: no error", size[0], size[1])
		}
	}
	if _, err := loss.NewPrior(loss.PriorConfig{}, 3, 1); err == nil {
		t.Error("an empty prior configuration: no error")
	}
}

// TestDefaultConfig is valid for every term.
func TestDefaultConfig(t *testing.T) {
	for _, name := range []string{loss.PriorMutualInformation, loss.KL, loss.CrossEntropy} {
		if err := loss.DefaultConfig(name).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
