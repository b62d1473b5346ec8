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
	first, learns := "", false
	for i, t := range s.Loss {
		path := termPath(i)
		learns = learns || t.Learns() || !d.ok(path+".weight", path+".ramp.from") || !d.ok(path+".ramp.to")
		d.checkRamp(path+".ramp", t.Ramp)
		if !d.ok(path + ".name") {
			continue
		}
		d.checkTerm(path, t, s)
		if t.Name != TermPriorMutualInformation {
			continue
		}
		if first != "" {
			d.fault(path+".name", "is a second prior_mutual_information, after %s; a job has one prior, remove one of the terms",
				first)
		}
		first = path
		d.checkPrior(path, t, s.Student)
	}
	if !learns {
		d.fault("loss", "every term has weight 0 or a ramp that stays 0, so nothing would be learnt; give one a weight "+
			"above 0")
	}
}

func termPath(i int) string { return fmt.Sprintf("loss.%d", i) }

// okTerms says whether a key has no fault in any term.
func (d *decoder) okTerms(s *Spec, key string) bool {
	for i := range s.Loss {
		if !d.ok(termPath(i) + "." + key) {
			return false
		}
	}
	return d.ok("loss")
}

func (d *decoder) checkRamp(path string, r Ramp) {
	if !d.ok(path+".begin", path+".end") || r.Begin < r.End {
		return
	}
	if _, ok := d.given[path+".end"]; ok {
		d.fault(path+".end", "is %v, and begin is %v; give an end after the begin", r.End, r.Begin)
		return
	}
	d.fault(path+".begin", "is %v, and end is %v; give a begin before the end", r.Begin, r.End)
}

func (d *decoder) checkTerm(path string, t Term, s *Spec) {
	if d.ok("teacher") && s.Teacher == nil && t.NeedsTeacher() {
		d.fault(path+".name", "%s compares the student with a teacher, and the job has none; add teacher.model, or use "+
			"cross_entropy", t.Name)
	}
	if d.ok(path+".features") && t.Name == TermCrossEntropy && t.Features != FeaturesLogits {
		d.fault(path+".features", "is %s, but cross_entropy compares logits with labels; remove features, or use another "+
			"term", t.Features)
	}
	if n := t.channels(s); d.ok(path+".feature_groups", path+".features") && d.ok("student.outputs") && n > 1 && t.soft() {
		d.checkGroups(path+".feature_groups", t.FeatureGroups, n)
	}
}

func (d *decoder) checkGroups(path string, groups, channels int) {
	switch {
	case groups == 0:
	case channels%groups != 0:
		d.fault(path, "is %d, which does not divide student.outputs, %d; give a divisor of it", groups, channels)
	case channels/groups < 2:
		d.fault(path, "is %d, which leaves one channel of student.outputs, %d, to a group; a softmax needs 2, give at "+
			"most %d", groups, channels, channels/2)
	}
}

func (d *decoder) checkPrior(term string, t Term, s Student) {
	p, path := t.Prior, term+".prior"
	if n := len(p.Weights); d.ok(path+".weights", path+".groups") && n > 0 && n != p.Groups {
		d.fault(path+".weights", "has %s for %s; give one for each group", count(n, "value"), count(p.Groups, "group"))
	}
	if len(p.Weights) > 0 && !slices.ContainsFunc(p.Weights, func(w float64) bool { return w != 0 }) {
		d.fault(path+".weights", "are all 0, so nothing could move the prior; give at least one other value")
	}
	if n := len(p.Mean); d.ok(path+".mean", "student.outputs", term+".features") &&
		n > 0 && t.Features == FeaturesLogits && s.Outputs > 0 && n != s.Outputs {
		d.fault(path+".mean", "has %s; student.outputs is %d, give one value for each class", count(n, "value"), s.Outputs)
	}
	if d.ok(path+".rate", path+".update") && p.Update == UpdateNatural && p.Rate >= maxPriorRate {
		d.fault(path+".rate", "is %v; a natural step of %d or more never settles, give a number above 0 and below %d (1 "+
			"follows at once)",
			p.Rate, maxPriorRate, maxPriorRate)
	}
}

// soft says whether the term compares distributions, softmaxes of both sides' features.
func (t Term) soft() bool { return t.Name == TermPriorMutualInformation || t.Name == TermKL }

// channels is the width of what the term looks at, of the student; 0: the job file does not say it.
func (t Term) channels(s *Spec) int {
	if t.Features != FeaturesLogits {
		return 0
	}
	return s.Student.Outputs
}
