package setup

import (
	"pupil/coordinator/job"
	"pupil/loss"
)

func lossConfig(t job.Term) loss.Config {
	return loss.Config{
		Name: t.Name, Weight: t.Weight,
		TeacherTemperature: t.TeacherTemperature, StudentTemperature: t.StudentTemperature,
		LabelSmoothing: t.LabelSmoothing, Joint: t.Joint, Posterior: t.Posterior,
		Prior: loss.PriorConfig(t.Prior), Start: loss.Start(t.Start),
	}
}

// prior is the initial prior of the job's mutual-information term, or nil.
func (j *Job) prior() (*loss.Prior, error) {
	for _, t := range j.Loss {
		if t.Name == loss.PriorMutualInformation {
			return loss.NewPrior(t.Prior, j.Classes, j.Spec.Seed)
		}
	}
	return nil, nil
}
