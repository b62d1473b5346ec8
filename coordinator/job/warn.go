package job

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Warnings lists what is allowed but most likely not meant, each as "key: what, why": a student's view that is weaker
// than the teacher's, keys that have no effect, a batch too small for its classes, settings that merge classes. It is
// empty for most jobs.
func (s *Spec) Warnings() []string {
	var w []string
	warn := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if names := s.weakerView(); len(names) > 0 {
		warn("views.student: is weaker than views.teacher in %s; the student learns more from the harder view",
			strings.Join(names, ", "))
	}
	if s.Lanes > 0 && s.Batch == s.Lanes {
		warn("lanes: each lane has one image of a step, so batch norm has little to measure; give fewer lanes or a larger " +
			"batch")
	}
	for i, t := range s.Loss {
		s.warnTerm(warn, termPath(i), t)
	}
	if s.Teacher != nil && !slices.ContainsFunc(s.Loss, Term.NeedsTeacher) {
		warn("teacher: no term of the loss looks at the teacher; remove it, or add a term such as kl")
	}
	s.warnCollapse(warn)
	root := reflect.ValueOf(s).Elem()
	warnUnused(warn, root, root, "", nil)
	return w
}

func (s *Spec) warnTerm(warn func(string, ...any), path string, t Term) {
	if t.Ramp.From == t.Ramp.To && (t.Ramp.Begin != 0 || t.Ramp.End != 1) {
		warn("%s.ramp: begin and end have no effect, for the factor goes from %v to %v; give another from or to", path,
			t.Ramp.From, t.Ramp.To)
	}
	if t.soft() && t.groups() == 1 && t.FeatureOrder != OrderContiguous {
		warn("%s.feature_order: is %s, but has an effect only when feature_groups is above 1", path, t.FeatureOrder)
	}
	if t.Name == TermPriorMutualInformation {
		s.warnMutual(warn, path, t)
	}
}

// warnMutual says which settings of the mutual information trials found to fail: DESIGN section 4.
func (s *Spec) warnMutual(warn func(string, ...any), path string, t Term) {
	groups := max(t.groups(), 1)
	// A batch of N images supports a joint of about N/10 classes.
	if n := t.channels(s); n/groups*10 > s.Batch {
		what := fmt.Sprintf("student.outputs is %d", n)
		if groups > 1 {
			what = fmt.Sprintf("each of the %d feature groups of %s has %d", groups, path, n/groups)
		}
		warn("batch: %d images measure the joint of about %d classes, and %s; give a larger batch", s.Batch, s.Batch/10, what)
	}
	if t.Joint == JointSymmetric && s.Teacher != nil && s.Student.Init != s.Teacher.Model {
		warn("%s.joint: between two different networks even a constant student has mutual information in the symmetric "+
			"joint; watch the product joint's, which is always reported, or give product", path)
	}
	if len(t.Prior.Mean) > 0 && t.Prior.Update == UpdateNatural && !t.Start.Hold {
		warn("%s.prior.mean: with a KL start that ends, an offset of more than about 0.1 can empty a frequent class; keep the KL "+
			"term with start.hold (docs/method.md has figures)", path)
	}
	switch update := t.Prior.Update; {
	case update == UpdateMinimize:
		warn("%s.prior.update: minimize moves the prior away from the student, which then collapses to one class; natural "+
			"does not", path)
	case update == UpdateMaximize:
		warn("%s.prior.update: with maximize the prior lags the student, which then merges its classes; natural follows at "+
			"once", path)
	case update == UpdateNone:
		warn("%s.prior.update: with none the prior is a constant to the student, and nothing keeps its classes apart; "+
			"natural does", path)
	case t.Prior.Rate <= 0.5:
		warn("%s.prior.rate: a prior that follows the student by %v a step lags, and the student merges its classes; 1 "+
			"follows at once", path, t.Prior.Rate)
	}
}

func (s *Spec) warnCollapse(warn func(string, ...any)) {
	c := s.Collapse
	if c.EffectiveRank > 0 && s.Health.RankEvery == 0 {
		warn("collapse.effective_rank: is %v, but health.rank_every is 0, so the rank is never measured; give it 1 or more",
			c.EffectiveRank)
	}
	f, _ := fieldAt("collapse.patience")
	bounded := c.EffectiveRank > 0 || s.Teacher != nil && (c.UsedClasses > 0 || c.Information > 0)
	if !bounded && strconv.Itoa(c.Patience) != f.Default {
		warn("collapse.patience: is %d, but no other key of collapse is in use, so nothing stops the job; give a bound, "+
			"without a teacher effective_rank", c.Patience)
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
		for _, only := range []*Condition{f.Only, ownView(root, child)} {
			if unmet == nil && only != nil && !only.holds(root, child) {
				unmet = only
			}
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

// ownView is the condition, beside the field's own, of what makes the student's view another than the teacher's.
func ownView(root reflect.Value, path string) *Condition {
	operation := strings.HasPrefix(path, "views.student.") && !strings.HasPrefix(path, "views.student.normalize")
	taught := Condition{"teacher", []string{"present"}}
	if path != "views.strength" && !operation || !taught.holds(root, path) {
		return nil
	}
	return &Condition{"views.policy", []string{PolicyIndependent, PolicyNested}}
}
