package setup

import (
	"fmt"

	"pupil/coordinator/job"
	"pupil/loss"
	"pupil/storage/dataset"
	"pupil/worker/nn"
	"pupil/worker/train"
)

// buildLoss makes the loss over the heads that its terms look at: logits, and pooled features.
func (j *Job) buildLoss() error {
	var heads []loss.Head
	position := map[string]int{}
	for _, features := range []string{job.FeaturesLogits, job.FeaturesPooled} {
		if !j.Spec.Uses(features) {
			continue
		}
		from := train.Head{Teacher: nn.Logits, Student: nn.Logits}
		if features == job.FeaturesPooled {
			from = train.Head{Teacher: nn.Pooled, Student: nn.Pooled}
			if j.StudentConfig.Projection > 0 {
				from.Student = nn.Projection
			}
		}
		h := loss.Head{Student: j.Student.Width(from.Student)}
		if j.Teacher != nil {
			h.Teacher = j.Teacher.Width(from.Teacher)
		}
		position[features] = len(heads)
		heads, j.Heads = append(heads, h), append(j.Heads, from)
	}
	if err := j.checkClasses(); err != nil {
		return err
	}
	var terms []loss.Config
	for i, t := range j.Spec.Loss {
		if err := j.checkTerm(t, heads[position[t.Features]], j.Data.Manifest()); err != nil {
			return fmt.Errorf("loss.%d: %w", i, err)
		}
		head := position[t.Features]
		terms = append(terms, lossConfig(t, head, t.GroupsOf(heads[head].Student)))
	}
	var err error
	j.Loss, err = loss.New(terms, heads, j.Spec.Batch, j.Spec.Seed)
	return err
}

// checkClasses refuses logits that one term compares with the teacher's and another with labels, if the two name their
// classes in different orders.
func (j *Job) checkClasses() error {
	teacher, data := j.TeacherConfig.Classes, j.Data.Manifest().Classes
	compared := false
	for _, t := range j.Spec.Loss {
		compared = compared || t.NeedsTeacher() && t.Features == job.FeaturesLogits
	}
	if !compared || !j.labelled() || len(teacher) == 0 {
		return nil
	}
	for i, name := range data {
		if i >= len(teacher) || teacher[i] != name {
			have := "none"
			if i < len(teacher) {
				have = fmt.Sprintf("%q", teacher[i])
			}
			return fmt.Errorf("loss: one term compares the logits with the teacher's and another with labels, but class %d is %q in the "+
				"dataset and %s in the teacher's config.json; import the data with the teacher's classes in its order", i, name, have)
		}
	}
	return nil
}

// checkTerm says what of the networks and the data does not fit a term, with the job's keys.
func (j *Job) checkTerm(t job.Term, h loss.Head, m dataset.Manifest) error {
	if t.Name == job.TermCrossEntropy {
		if len(m.Classes) == 0 || len(m.Classes) > h.Student {
			return fmt.Errorf("cross_entropy needs a label for each image and an output for each class; the dataset has %d "+
				"classes, the student %d outputs", len(m.Classes), h.Student)
		}
		return nil
	}
	if h.Teacher == 0 {
		return fmt.Errorf("features is %s, but the teacher in %s has no classifier; use pooled", t.Features, j.Spec.Teacher.Model)
	}
	groups := t.GroupsOf(h.Student)
	over := t.Name == job.TermPriorMutualInformation && t.Joint == job.JointProduct && t.Start.KL == 0 && groups == 1
	if h.Teacher != h.Student && !over {
		advice := "set student.outputs to the teacher's width (only prior_mutual_information with the product joint, start.kl 0 " +
			"and one feature group takes others)"
		if t.Features == job.FeaturesPooled {
			advice = "set student.projection to true"
		}
		return fmt.Errorf("the teacher's features (%s) have width %d and the student's %d, and %s compares them one by one; %s",
			t.Features, h.Teacher, h.Student, t.Name, advice)
	}
	soft := t.Name == job.TermPriorMutualInformation || t.Name == job.TermKL
	if soft && (h.Student%groups != 0 || groups > 1 && h.Student/groups < 2) {
		return fmt.Errorf("feature_groups is %d, but the features (%s) have width %d; give a number that divides it into groups of "+
			"2 or more", groups, t.Features, h.Student)
	}
	if n := len(t.Prior.Mean); t.Name == job.TermPriorMutualInformation && n > 0 && n != h.Student {
		return fmt.Errorf("prior.mean has %d values; the features have width %d", n, h.Student)
	}
	return nil
}

// labelled says whether a term looks at the dataset's labels.
func (j *Job) labelled() bool {
	for _, t := range j.Spec.Loss {
		if t.Name == job.TermCrossEntropy {
			return true
		}
	}
	return false
}

func lossConfig(t job.Term, head, groups int) loss.Config {
	return loss.Config{
		Name: t.Name, Head: head, Weight: t.Weight, Ramp: loss.Ramp(t.Ramp),
		FeatureGroups: groups, FeatureOrder: t.FeatureOrder, Standardize: t.Standardize,
		TeacherTemperature: t.TeacherTemperature, StudentTemperature: t.StudentTemperature,
		LabelSmoothing: t.LabelSmoothing, Joint: t.Joint, Posterior: t.Posterior,
		Prior: loss.PriorConfig(t.Prior), Start: loss.Start(t.Start),
	}
}
