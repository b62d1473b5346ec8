package train

import (
	"errors"
	"strings"
	"testing"

	"pupil/loss"
)

// Each bound stops after Patience steps in a row, and a step above it begins anew.
func TestCollapseBounds(t *testing.T) {
	good := loss.Health{Measured: true, UsedClasses: 10, TeacherUsedClasses: 10, MutualInformation: 1, LogClasses: 2}
	merged, empty := good, good
	merged.UsedClasses, empty.MutualInformation = 4, 0.1
	const every = 4 // steps from one rank to the next
	for name, c := range map[string]struct {
		bounds Collapse
		low    loss.Health
		rank   float64
		stops  int // steps after the first low one, it included
		key    string
	}{
		"used classes": {Collapse{UsedClasses: 0.5, Patience: 3}, merged, 9, 3, "collapse.used_classes"},
		"information":  {Collapse{Information: 0.2, Patience: 3}, empty, 9, 3, "collapse.information"},
		// Measured in steps 0, 4 and 8 after it: low over 9 steps.
		"rank": {Collapse{EffectiveRank: 2, Patience: 6}, good, 1.5, 9, "collapse.effective_rank"},
		"none": {Collapse{Patience: 1}, merged, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var n Collapsing
			step := 0
			watch := func(h loss.Health, rank float64) error {
				step++
				return c.bounds.watch(&n, step, h, rank, (step-1)%every == 0, every)
			}
			for range every { // low, but not for long enough
				if err := watch(c.low, c.rank); err != nil && name != "used classes" && name != "information" {
					t.Fatalf("step %d: %v", step, err)
				}
			}
			for range every {
				if err := watch(good, 9); err != nil {
					t.Fatalf("step %d, a good one: %v", step, err)
				}
			}
			begin := step
			for step < begin+20 {
				err := watch(c.low, c.rank)
				if err == nil {
					continue
				}
				if !errors.Is(err, ErrCollapsed) || !strings.Contains(err.Error(), c.key) || step-begin != c.stops {
					t.Errorf("stopped after %d steps: %v; want %d and %q", step-begin, err, c.stops, c.key)
				}
				return
			}
			if c.stops > 0 {
				t.Error("never stopped")
			}
		})
	}
}
