package optim

import (
	"fmt"
	"math"

	"pupil/internal/random/elementary"
)

// The schedules.
const (
	ScheduleConstant = "constant"
	ScheduleCosine   = "cosine"
	ScheduleOneCycle = "one_cycle"
	ScheduleStep     = "step"
)

// Schedules are the schedules that there are, sorted.
func Schedules() []string {
	return []string{ScheduleConstant, ScheduleCosine, ScheduleOneCycle, ScheduleStep}
}

// Schedule is the learning rate of each step. It begins with a warm-up of w = round(Warmup * Steps) steps: step i has
// the share (i+1)/w of the rate that the schedule begins with. What follows is
//
//	constant    Peak
//	cosine      from Peak to Final * Peak (Loshchilov and Hutter, "SGDR", ICLR 2017), u = (i - w) / (Steps - w):
//	            Peak * (Final + (1 - Final) * (1 + cos(pi u)) / 2)
//	step        Peak * Gamma^k, with k the number of milestones that are reached: round(milestone * Steps) <= i
//	one_cycle   up along half a cosine and down along another; oneCycle has the formula
//
// PyTorch's names of the last three are CosineAnnealingLR (T_max = Steps - w), MultiStepLR and OneCycleLR.
type Schedule struct {
	Name   string  // one of Schedules
	Peak   float64 // the highest learning rate, above 0
	Warmup float64 // share of all steps in which the rate rises linearly, from 0 to 1
	Steps  int     // of the whole job

	Final float64 // cosine: the rate at the end, as a share of the peak, from 0 to 1

	Milestones []float64 // step: shares of all steps, above Warmup and below 1, rising
	Gamma      float64   // step: factor at each milestone, above 0 and at most 1

	PctStart       float64 // one_cycle: share of the cycle in which the rate rises, from 0 to 1
	DivFactor      float64 // one_cycle: the cycle begins at Peak / DivFactor, at least 1
	FinalDivFactor float64 // one_cycle: and ends at Peak / DivFactor / FinalDivFactor, at least 1
}

// Validate returns every fault of the schedule in one error. What the schedule has no use for is not looked at.
func (s Schedule) Validate() error {
	f := &faults{section: "schedule"}
	f.oneOf("name", s.Name, Schedules())
	if !(s.Peak > 0 && s.Peak <= math.MaxFloat64) {
		f.list = append(f.list, fmt.Errorf("optimizer.learning_rate is %g; give a number above 0", s.Peak))
	}
	f.share("warmup", s.Warmup)
	switch s.Name {
	case ScheduleCosine:
		f.share("final", s.Final)
	case ScheduleStep:
		last := s.Warmup
		for i, m := range s.Milestones {
			f.number(m > last && m < 1, fmt.Sprintf("milestones[%d]", i), m,
				fmt.Sprintf("above %g (the warm-up, or the milestone before it) and below 1", last))
			if m > last {
				last = m
			}
		}
		f.number(s.Gamma > 0 && s.Gamma <= 1, "gamma", s.Gamma, "above 0 and at most 1")
	case ScheduleOneCycle:
		f.share("pct_start", s.PctStart)
		f.number(s.DivFactor >= 1 && s.DivFactor <= math.MaxFloat64, "div_factor", s.DivFactor, "of 1 or more")
		f.number(s.FinalDivFactor >= 1 && s.FinalDivFactor <= math.MaxFloat64, "final_div_factor", s.FinalDivFactor,
			"of 1 or more")
	}
	return f.err()
}

// Rate is the learning rate of a step, 0 <= step < Steps.
func (s Schedule) Rate(step int) float64 {
	warm := s.at(s.Warmup)
	if step < warm {
		return s.begin() * float64(step+1) / float64(warm)
	}
	switch s.Name {
	case ScheduleCosine:
		if s.Steps <= warm {
			return s.Peak
		}
		return s.Peak * anneal(1, s.Final, float64(step-warm)/float64(s.Steps-warm))
	case ScheduleStep:
		reached := func(milestone float64) bool { return s.at(milestone) <= step }
		return s.Peak * power(s.Gamma, count(s.Milestones, reached))
	case ScheduleOneCycle:
		return s.oneCycle(step-warm, s.Steps-warm)
	default:
		return s.Peak
	}
}

// at is the step that a share of all steps ends before.
func (s Schedule) at(share float64) int { return int(math.Round(share * float64(s.Steps))) }

// begin is the rate that the warm-up rises to.
func (s Schedule) begin() float64 {
	if s.Name == ScheduleOneCycle {
		return s.Peak / s.DivFactor
	}
	return s.Peak
}

// anneal goes from one value to another along half a cosine; done is the share of the way.
func anneal(from, to, done float64) float64 {
	_, cos := elementary.SinCos(math.Pi * done)
	return to + float64((from-to)*float64(0.5*(1+cos)))
}

func count(x []float64, which func(float64) bool) (n int) {
	for _, v := range x {
		if which(v) {
			n++
		}
	}
	return n
}
