package job

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Warnings lists what is allowed but most likely not meant, each as "key: what, why": a student's view that is weaker
// than the teacher's, keys that have no effect, a batch too small for its classes. It is empty for most jobs.
func (s *Spec) Warnings() []string {
	var w []string
	warn := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if kinds := s.weakerViews(); len(kinds) > 0 {
		warn("views.student: is weaker than views.teacher in %s; the student learns more from the harder view",
			strings.Join(kinds, ", "))
	}
	if s.Lanes > 0 && s.Batch == s.Lanes {
		warn("lanes: each lane has one image of a step, so batch norm has little to measure; give fewer lanes or a larger " +
			"batch")
	}
	for i, t := range s.Loss {
		s.warnTerm(warn, fmt.Sprintf("loss.%d", i), t)
	}
	if s.Teacher != nil && !s.usesTeacher() {
		warn("teacher: no term of the loss looks at the teacher; remove it, or add a term such as kl")
	}
	root := reflect.ValueOf(s).Elem()
	warnUnused(warn, root, root, "", nil)
	return w
}

func (s *Spec) usesTeacher() bool {
	for _, t := range s.Loss {
		if t.needsTeacher() {
			return true
		}
	}
	return false
}

// weakerViews names the kinds of augmentation that are milder for the student than for the teacher.
func (s *Spec) weakerViews() []string {
	if s.Teacher == nil {
		return nil
	}
	t, u := s.Views.Teacher, s.Views.Student
	var kinds []string
	for _, x := range []struct {
		kind   string
		weaker bool
	}{
		{"crop.scale", u.Crop.Scale[0] > t.Crop.Scale[0]},
		{"rotate", u.Rotate < t.Rotate},
		{"brightness", u.Brightness < t.Brightness},
		{"occlude.probability", u.Occlude.Probability < t.Occlude.Probability},
	} {
		if x.weaker {
			kinds = append(kinds, x.kind)
		}
	}
	return kinds
}

func (s *Spec) warnTerm(warn func(string, ...any), path string, t Term) {
	if t.Name != TermPriorMutualInformation {
		return
	}
	// DESIGN section 4: a batch of N images supports a joint of about N/10 classes.
	if c := s.Student.Outputs; s.Student.Features == FeaturesLogits && c*10 > s.Batch {
		warn("batch: %d images measure the joint of about %d classes, and student.outputs is %d; give a larger batch",
			s.Batch, s.Batch/10, c)
	}
	switch {
	case t.Prior.Update == UpdateMinimize:
		warn("%s.prior.update: minimize moves the prior away from the student, which then collapses to one class; natural "+
			"does not", path)
	case t.Prior.Update == UpdateNatural && t.Prior.Rate <= 0.5:
		warn("%s.prior.rate: a prior that follows the student by %v a step lags, and the student merges its classes; 1 "+
			"follows at once", path, t.Prior.Rate)
	}
}

// warnUnused reports keys that differ from their default where they have no effect: because of their own condition, or
// of a section's that is not fulfilled.
func warnUnused(warn func(string, ...any), root, section reflect.Value, path string, unmet *Condition) {
	for i := range section.NumField() {
		child := below(path, section.Type().Field(i).Tag.Get("yaml"))
		v := section.Field(i)
		f, _ := fieldAt(child)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		unmet := unmet
		if unmet == nil && f.Only != nil && !f.Only.holds(root, child) {
			unmet = f.Only
		}
		switch {
		case !v.IsValid():
		case f.Type == TypeList:
			for i := range v.Len() {
				warnUnused(warn, root, v.Index(i), below(child, strconv.Itoa(i)), unmet)
			}
		case f.Type == TypeSection:
			warnUnused(warn, root, v, child, unmet)
		case unmet != nil:
			usual := reflect.New(v.Type()).Elem()
			setDefault(usual, f, f.defaultIn(root, child))
			if !reflect.DeepEqual(v.Interface(), usual.Interface()) {
				warn("%s: is %v, but has an effect only when %s", child, v.Interface(), unmet)
			}
		}
	}
}
