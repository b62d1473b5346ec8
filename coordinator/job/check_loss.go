package job

import (
	"fmt"
	"slices"
)

// maxPriorRate bounds a natural step of the prior: one of 2 or more never settles.
const maxPriorRate = 2

func (d *decoder) checkLoss(s *Spec) {
	if !d.ok("loss") {
		return
	}
	first, weighted := "", false
	for i, t := range s.Loss {
		path := fmt.Sprintf("loss.%d", i)
		weighted = weighted || t.Weight > 0 || !d.ok(path+".weight")
		if d.ok(path+".name", "teacher") && s.Teacher == nil && slices.Contains([]string{TermPriorMutualInformation, TermKL},
			t.Name) {
			d.fault(path+".name", "%s compares the student with a teacher, and the job has none; add teacher.model, or use "+
				"cross_entropy", t.Name)
		}
		if t.Name != TermPriorMutualInformation || !d.ok(path+".name") {
			continue
		}
		if first != "" {
			d.fault(path+".name", "is a second prior_mutual_information, after %s; a job has one prior, remove one of the terms",
				first)
		}
		first = path
		d.checkPrior(path+".prior", t.Prior, s.Student)
	}
	if !weighted {
		d.fault("loss", "every term has weight 0, so nothing would be learnt; give one a weight above 0")
	}
}

func (d *decoder) checkPrior(path string, p Prior, s Student) {
	if n := len(p.Weights); d.ok(path+".weights", path+".groups") && n > 0 && n != p.Groups {
		d.fault(path+".weights", "has %s for %s; give one for each group", count(n, "value"), count(p.Groups, "group"))
	}
	if len(p.Weights) > 0 && !slices.ContainsFunc(p.Weights, func(w float64) bool { return w != 0 }) {
		d.fault(path+".weights", "are all 0, so nothing could move the prior; give at least one other value")
	}
	if n := len(p.Mean); d.ok(path+".mean", "student.outputs", "student.features") &&
		n > 0 && s.Features == FeaturesLogits && s.Outputs > 0 && n != s.Outputs {
		d.fault(path+".mean", "has %s; student.outputs is %d, give one value for each class", count(n, "value"), s.Outputs)
	}
	if d.ok(path+".rate", path+".update") && p.Update == UpdateNatural && p.Rate >= maxPriorRate {
		d.fault(path+".rate", "is %v; a natural step of %d or more never settles, give a number above 0 and below %d (1 "+
			"follows at once)",
			p.Rate, maxPriorRate, maxPriorRate)
	}
}

// needsTeacher says whether a term looks at the teacher's features.
func (t Term) needsTeacher() bool { return t.Name != TermCrossEntropy }
