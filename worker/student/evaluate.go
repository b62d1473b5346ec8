package student

import (
	"context"
	"fmt"
	"slices"

	"pupil/coordinator/job"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/student/images"
)

// Report is how good a job's networks are on its held-out images.
type Report struct {
	KNN      Accuracies `json:"knn"`      // of k-nearest-neighbour classification by pooled features, see KNN
	Probe    Accuracies `json:"probe"`    // of a linear classifier of pooled features, see Probe
	Accuracy *float64   `json:"accuracy"` // top-1 of the student's logits; nil when they are not the dataset's classes
	Images   int        `json:"images"`   // held out
}

// Accuracies are those of a job's networks; nil: not measured.
type Accuracies struct {
	Teacher   *float64 `json:"teacher"`
	Untrained *float64 `json:"untrained"` // the student before its first step
	Student   *float64 `json:"student"`
}

// Evaluate measures the teacher, the untrained and the trained student of a job on its held-out images. folder holds the
// trained student.
func Evaluate(ctx context.Context, j *setup.Job, folder storage.Bucket, threads int) (*Report, error) {
	test, err := j.OpenTest(ctx)
	if err != nil {
		return nil, err
	}
	if test == nil {
		return &Report{}, nil
	}
	e := evaluation{job: j, test: test, threads: threads}
	r := &Report{Images: test.Count()}
	if len(test.Manifest().Classes) == 0 || len(j.Data.Manifest().Classes) == 0 {
		return r, nil // nothing to compare with
	}
	if j.Spec.Evaluate.Baselines {
		if err := e.baselines(ctx, r); err != nil {
			return nil, err
		}
	}
	network, state, config, _, err := nn.LoadFolder(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("load the student: %w", err)
	}
	trained, err := e.measure(ctx, network, state, config)
	if err != nil {
		return nil, fmt.Errorf("evaluate the student: %w", err)
	}
	r.KNN.Student, r.Probe.Student, r.Accuracy = &trained.knn, &trained.probe, trained.top
	return r, nil
}

// baselines measures what a trained student is compared with.
func (e *evaluation) baselines(ctx context.Context, r *Report) error {
	j := e.job
	if j.Teacher != nil {
		m, err := e.measure(ctx, j.Teacher, j.TeacherState, j.TeacherConfig)
		if err != nil {
			return fmt.Errorf("evaluate the teacher: %w", err)
		}
		r.KNN.Teacher, r.Probe.Teacher = &m.knn, &m.probe
	}
	start, err := j.State(ctx)
	if err != nil {
		return err
	}
	untrained, err := e.measure(ctx, j.Student, start.Model, j.StudentConfig)
	if err != nil {
		return fmt.Errorf("evaluate the untrained student: %w", err)
	}
	r.KNN.Untrained, r.Probe.Untrained = &untrained.knn, &untrained.probe
	return nil
}

type evaluation struct {
	job     *setup.Job
	test    *dataset.Dataset
	threads int
}

// features are those of a dataset's images, up to a limit; 0: all.
func (e *evaluation) features(ctx context.Context, m *Model, d *dataset.Dataset, limit int) (Features, error) {
	c := StreamConfig{SkipBroken: e.job.Spec.Dataset.Broken == job.BrokenSkip, Threads: e.threads}
	return m.Collect(ctx, images.FromDataset(d, limit), c)
}

// measured is what one network reaches on the held-out images.
type measured struct {
	knn, probe float64
	top        *float64 // accuracy of the logits; nil unless they stand for the dataset's classes
}

func (e *evaluation) measure(ctx context.Context, n *nn.Network, s *nn.State, c nn.ModelConfig) (m measured, err error) {
	model, err := NewModel(n, s, c)
	if err != nil {
		return m, err
	}
	training, err := e.features(ctx, model, e.job.Data, e.job.Spec.Evaluate.Bank)
	if err != nil {
		return m, err
	}
	test, err := e.features(ctx, model, e.test, 0)
	if err != nil {
		return m, err
	}
	v := e.job.Spec.Evaluate
	if m.knn, err = KNN(training, test, min(v.Neighbors, len(training.Labels)), v.Temperature, e.threads); err != nil {
		return m, err
	}
	if m.probe, err = Probe(training, test, DefaultProbeConfig(), e.threads); err != nil {
		return m, err
	}
	if classes := e.test.Manifest().Classes; len(classes) > 0 && slices.Equal(classes, c.Classes) {
		share := test.Accuracy()
		m.top = &share
	}
	return m, nil
}
