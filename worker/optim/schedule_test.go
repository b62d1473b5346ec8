package optim_test

import (
	"math"
	"strings"
	"testing"

	"pupil/worker/optim"
)

func TestSchedule(t *testing.T) {
	s := optim.Schedule{Name: "cosine", Peak: 2, Warmup: 0.1, Final: 0.5, Steps: 110}
	for step, want := range map[int]float64{0: 2.0 / 11, 10: 2, 11: 2} {
		if got := s.Rate(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("rate of step %d: %v, want %v", step, got, want)
		}
	}
	for step := 12; step < 110; step++ {
		if s.Rate(step) >= s.Rate(step-1) || s.Rate(step) < 1 {
			t.Errorf("the cosine does not fall from the peak to its final share: step %d has %v", step, s.Rate(step))
		}
	}
	if got := (optim.Schedule{Name: "constant", Peak: 3, Steps: 10}).Rate(9); got != 3 {
		t.Errorf("constant rate: %v", got)
	}
}

// oneCycle is PyTorch's one-cycle with its defaults.
func oneCycle(steps int) optim.Schedule {
	return optim.Schedule{
		Name: optim.ScheduleOneCycle, Peak: 1, Steps: steps, PctStart: 0.3, DivFactor: 25, FinalDivFactor: 1e4,
	}
}

// TestOneCycleAfterWarmup: the warm-up rises to where the cycle begins, and the cycle has the steps that are left.
func TestOneCycleAfterWarmup(t *testing.T) {
	warmed, plain := oneCycle(50), oneCycle(40)
	warmed.Warmup = 0.2
	for step := range 10 {
		if got, want := warmed.Rate(step), 0.04*float64(step+1)/10; math.Abs(got-want) > 1e-15 {
			t.Errorf("rate of step %d of the warm-up: %v, want %v", step, got, want)
		}
	}
	for step := range 40 {
		if got, want := warmed.Rate(10+step), plain.Rate(step); got != want {
			t.Errorf("rate of step %d of the cycle: %v, want %v", step, got, want)
		}
	}
}

// Where a phase has no length, PyTorch divides by 0.
func TestOneCycleWithoutWay(t *testing.T) {
	s := oneCycle(10)
	s.PctStart = 0.1
	if got := s.Rate(0); math.Abs(got-1) > 1e-15 {
		t.Errorf("a rise of one step begins at %v, want the peak", got)
	}
	s = oneCycle(1)
	s.PctStart = 1
	if got := s.Rate(0); math.Abs(got-1) > 1e-15 {
		t.Errorf("a cycle of one step that only rises has the rate %v, want the peak", got)
	}
}

// TestRatesStayInRange: above 0 and at most the peak in every step, for every schedule and many lengths.
func TestRatesStayInRange(t *testing.T) {
	for _, name := range optim.Schedules() {
		for _, warmup := range []float64{0, 0.01, 0.3, 1} {
			for steps := 1; steps < 60; steps++ {
				s := oneCycle(steps)
				s.Name, s.Warmup, s.Final, s.Gamma = name, warmup, 0.01, 0.1
				if warmup < 0.5 {
					s.Milestones = []float64{0.5, 0.75}
				}
				if err := s.Validate(); err != nil {
					t.Fatal(err)
				}
				for step := range steps {
					if r := s.Rate(step); !(r > 0 && r <= s.Peak*(1+1e-15)) {
						t.Fatalf("%s, warm-up %v: rate of step %d of %d is %v", name, warmup, step, steps, r)
					}
				}
			}
		}
	}
}

func TestScheduleFaults(t *testing.T) {
	good := func(name string) optim.Schedule {
		s := oneCycle(10)
		s.Name, s.Warmup, s.Final, s.Milestones, s.Gamma = name, 0.1, 0.01, []float64{0.5, 0.75}, 0.1
		return s
	}
	nan := math.NaN()
	for _, c := range []struct {
		name   string
		change func(s *optim.Schedule)
		want   string
	}{
		{"constant", func(s *optim.Schedule) { s.Name = "linear" }, `schedule.name is "linear"; give one of constant`},
		{"constant", func(s *optim.Schedule) { s.Peak = 0 }, "optimizer.learning_rate is 0"},
		{"constant", func(s *optim.Schedule) { s.Peak = nan }, "optimizer.learning_rate is NaN"},
		{"constant", func(s *optim.Schedule) { s.Warmup = 1.5 }, "schedule.warmup is 1.5; give a number from 0 to 1"},
		{"cosine", func(s *optim.Schedule) { s.Final = -1 }, "schedule.final is -1"},
		{"step", func(s *optim.Schedule) { s.Milestones[1] = 0.5 }, "schedule.milestones[1] is 0.5; give a number above 0.5"},
		{"step", func(s *optim.Schedule) { s.Milestones[0] = 0.1 }, "schedule.milestones[0] is 0.1; give a number above 0.1"},
		{"step", func(s *optim.Schedule) { s.Milestones[1] = 1 }, "schedule.milestones[1] is 1"},
		{"step", func(s *optim.Schedule) { s.Milestones[0] = nan }, "schedule.milestones[0] is NaN"},
		{"step", func(s *optim.Schedule) { s.Gamma = 0 }, "schedule.gamma is 0"},
		{"step", func(s *optim.Schedule) { s.Gamma = 2 }, "schedule.gamma is 2"},
		{"one_cycle", func(s *optim.Schedule) { s.PctStart = nan }, "schedule.pct_start is NaN"},
		{"one_cycle", func(s *optim.Schedule) { s.DivFactor = 0.5 }, "schedule.div_factor is 0.5"},
		{"one_cycle", func(s *optim.Schedule) { s.FinalDivFactor = math.Inf(1) }, "schedule.final_div_factor is +Inf"},
	} {
		s := good(c.name)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		c.change(&s)
		err := s.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v, want one fault with %q", c.name, err, c.want)
		}
	}
	s := good("one_cycle")
	s.Peak, s.Warmup, s.DivFactor = -1, -1, 0
	if err := s.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults give %v", err)
	}
}
