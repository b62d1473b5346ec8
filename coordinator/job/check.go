package job

import (
	"fmt"
	"net/url"
	"strings"
)

// check finds what no key shows alone.
func (d *decoder) check(s *Spec) {
	d.checkName(s)
	d.checkLocations(s)
	d.checkLength(s)
	d.checkCheckpoint(s)
	d.checkBatch(s)
	d.checkWire(s)
	d.checkViews(s)
	d.checkLoss(s)
	d.checkMilestones(s)
	d.checkOutputs(s)
	if d.ok("optimizer.nesterov", "optimizer.momentum", "optimizer.name") &&
		s.Optimizer.Name != OptimizerAdamW && s.Optimizer.Nesterov && s.Optimizer.Momentum == 0 {
		d.fault("optimizer.nesterov", "is true with a momentum of 0; give a momentum above 0, or remove nesterov")
	}
}

func (d *decoder) checkName(s *Spec) {
	if !d.ok("name") || s.Name == "" {
		return
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if len(s.Name) > 64 || strings.Trim(s.Name, letters+"-_.") != "" || strings.IndexAny(s.Name[:1], "-.") == 0 {
		d.fault("name", "is %q; give up to 64 letters, digits, '-', '_' and '.', starting with a letter, a digit or '_'",
			shorten(s.Name))
	}
}

// checkLocations finds what only a shell understands.
func (d *decoder) checkLocations(s *Spec) {
	for _, l := range s.locations() {
		if *l.at == "~" || strings.HasPrefix(*l.at, "~/") {
			d.fault(l.key, "is %q, and only a shell expands the ~; write the folder in full", shorten(*l.at))
		}
		if isURL(*l.at) && holdsKeys(*l.at) {
			d.fault(l.key, "is a URL with a password or a key in it, and a job file is no place for these: it is stored with the "+
				"run and sent to the workers; give them in the environment (PUPIL_S3_ACCESS_KEY, PUPIL_S3_SECRET_KEY)")
		}
	}
}

// holdsKeys tells whether a URL names a user, or has a parameter that is called like a secret.
func holdsKeys(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return strings.Contains(address, "@")
	}
	if u.User != nil {
		return true
	}
	query, err := url.ParseQuery(u.RawQuery)
	for name := range query {
		name = strings.ToLower(name)
		for _, word := range []string{"secret", "password", "token", "access", "signature"} {
			if strings.Contains(name, word) {
				return true
			}
		}
		if strings.HasSuffix(name, "key") {
			return true
		}
	}
	return err != nil
}

func (d *decoder) checkCheckpoint(s *Spec) {
	if c := s.Checkpoint; d.ok("checkpoint.unsaved", "checkpoint.every") && c.Unsaved > 0 && c.Unsaved < c.Every {
		d.fault("checkpoint.unsaved", "is %d, less than the %d steps from one checkpoint to the next (checkpoint.every); make it "+
			"larger, or leave it out", c.Unsaved, c.Every)
	}
}

// MaxUnsaved is how many steps may be without a checkpoint before the job fails.
func (c Checkpoint) MaxUnsaved() int {
	const times = 10
	if c.Unsaved > 0 {
		return c.Unsaved
	}
	return times * c.Every
}

func (d *decoder) checkLength(s *Spec) {
	if !d.ok("steps", "epochs") {
		return
	}
	switch {
	case s.Steps == 0 && s.Epochs == 0:
		d.fault("epochs", "neither epochs nor steps says how long to train; give one of them")
	case s.Steps > 0 && s.Epochs > 0:
		key := "epochs"
		if d.given["steps"].value.Line > d.given["epochs"].value.Line {
			key = "steps"
		}
		d.fault(key, "steps (%d) and epochs (%v) both say how long to train; remove one", s.Steps, s.Epochs)
	}
}

func (d *decoder) checkBatch(s *Spec) {
	if !d.ok("batch", "lanes") || s.Batch%s.Lanes == 0 {
		return
	}
	key := "batch"
	if _, ok := d.given[key]; !ok {
		key = "lanes"
	}
	low := s.Batch / s.Lanes * s.Lanes
	near := fmt.Sprintf("%d or %d", low, low+s.Lanes)
	if low == 0 {
		near = fmt.Sprint(s.Lanes)
	}
	d.fault(key, "a batch of %d cannot be shared equally by %d lanes; give a batch of %s, or another number of lanes",
		s.Batch, s.Lanes, near)
}

// MaxLanesInt16 is the largest number of lanes whose sums fit 16 bits: each keeps 7 bits and the sign.
const MaxLanesInt16 = 258

func (d *decoder) checkWire(s *Spec) {
	if d.ok("wire", "lanes") && s.Wire == WireInt16 && s.Lanes > MaxLanesInt16 {
		d.fault("wire", "sums of %d lanes do not fit 16 bits; give %d lanes or fewer, or int32", s.Lanes, MaxLanesInt16)
	}
}

func (d *decoder) checkOutputs(s *Spec) {
	n := s.Student.Outputs
	if !d.ok("student.outputs") || n == 0 {
		return
	}
	if n == 1 {
		d.fault("student.outputs", "is 1; a distribution needs at least 2 classes, give 2 or more (0 takes the teacher's "+
			"or the dataset's)")
	}
	if d.okTerms(s, "name") && d.okTerms(s, "features") && !s.Uses(FeaturesLogits) {
		d.fault("student.outputs", "is %d, but no term of the loss looks at logits, so the student has no classifier; "+
			"remove outputs, or give a term features: logits", n)
	}
}

func (d *decoder) checkViews(s *Spec) {
	if v := s.Views.Strength; d.ok("views.strength") && v > 0 && v < 1 {
		d.fault("views.strength", "is %v, which would make the student's view the weaker one; give 1 or more, or 0 to "+
			"derive nothing", v)
	}
	d.checkView("views.teacher", s.Views.Teacher, s.Student.Channels)
	if _, given := d.given["views.student.normalize"]; given || !s.derives() { // else it is the teacher's
		d.checkView("views.student", s.Views.Student, s.Student.Channels)
	}
}

func (d *decoder) checkView(path string, v View, channels int) {
	if v.Normalize == nil || !d.ok("student.channels") {
		return
	}
	for _, x := range []struct {
		key    string
		values []float64
	}{{"mean", v.Normalize.Mean}, {"std", v.Normalize.Std}} {
		key := path + ".normalize." + x.key
		if d.ok(key) && len(x.values) != channels {
			d.fault(key, "has %s; student.channels is %d, give one value for each channel", count(len(x.values), "value"),
				channels)
		}
	}
}

func (d *decoder) checkMilestones(s *Spec) {
	const key = "schedule.milestones"
	if s.Schedule.Name != ScheduleStep || !d.ok(key, "schedule.warmup", "schedule.name") {
		return
	}
	last := s.Schedule.Warmup
	for _, m := range s.Schedule.Milestones {
		if m <= last {
			d.fault(key, "are %v; give shares of all steps that rise, each above %v (the warm-up, or the one before)",
				s.Schedule.Milestones, last)
			return
		}
		last = m
	}
}

// count says how many there are of something.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
