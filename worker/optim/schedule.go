package optim

import "math"

// Schedule is the learning rate of each step.
type Schedule struct {
	Name   string  // "cosine" or "constant"
	Peak   float64 // the highest learning rate
	Warmup float64 // share of all steps in which the rate rises linearly to the peak
	Final  float64 // cosine: the rate at the end, as a share of the peak
	Steps  int     // of the whole job
}

// Rate is the learning rate of a step (0..Steps-1). The warm-up of w steps gives peak * (step+1)/w; the cosine (Loshchilov
// and Hutter, "SGDR", ICLR 2017) then falls from the peak to final * peak.
func (s Schedule) Rate(step int) float64 {
	warm := int(math.Round(s.Warmup * float64(s.Steps)))
	if step < warm {
		return s.Peak * float64(step+1) / float64(warm)
	}
	if s.Name == "constant" || s.Steps <= warm {
		return s.Peak
	}
	done := float64(step-warm) / float64(s.Steps-warm)
	fall := 0.5 * (1 + math.Cos(math.Pi*done))
	return s.Peak * (s.Final + float64((1-s.Final)*fall))
}
