package job

import (
	"fmt"
	"strings"
)

// check finds what no key shows alone.
func (d *decoder) check(s *Spec) {
	d.checkName(s)
	d.checkLocations(s)
	d.checkLength(s)
	d.checkBatch(s)
	d.checkStudent(s)
	d.checkView("views.teacher", s.Views.Teacher, s.Student.Channels)
	d.checkView("views.student", s.Views.Student, s.Student.Channels)
	d.checkLoss(s)
	if d.ok("optimizer.nesterov", "optimizer.momentum", "optimizer.name") &&
		s.Optimizer.Name == OptimizerSGD && s.Optimizer.Nesterov && s.Optimizer.Momentum == 0 {
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
	}
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

func (d *decoder) checkStudent(s *Spec) {
	if d.ok("student.outputs", "student.features") && s.Student.Outputs > 0 && s.Student.Features == FeaturesPooled {
		d.fault("student.outputs", "is %d, but a student with pooled features has no logits; remove outputs, or set "+
			"features to logits",
			s.Student.Outputs)
	}
	if d.ok("student.outputs") && s.Student.Outputs == 1 {
		d.fault("student.outputs", "is 1; a distribution needs at least 2 classes, give 2 or more (0 takes the teacher's "+
			"or the dataset's)")
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

// count says how many there are of something.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
