package local

import (
	"context"
	"errors"
	"fmt"

	"pupil/coordinator/job"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/storage/location"
)

// modelConfig is the description of a teacher, beside its weights.
const modelConfig = "config.json"

// checkInputs looks for the data and the teacher of a job before a run is made for it: the workers would find them missing
// when there is a run already, which can only be thrown away.
func checkInputs(ctx context.Context, s *job.Spec) error {
	var errs []error
	for _, x := range []struct{ key, url string }{{"dataset.train", s.Dataset.Train}, {"dataset.test", s.Dataset.Test}} {
		if x.url == "" {
			continue
		}
		b, err := location.Open(ctx, x.url)
		if err == nil {
			_, err = dataset.Open(ctx, b)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", x.key, err))
		}
	}
	if s.Teacher != nil {
		if err := checkTeacher(ctx, s.Teacher.Model); err != nil {
			errs = append(errs, fmt.Errorf("teacher.model: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return refuse("%w", err)
	}
	return nil
}

func checkTeacher(ctx context.Context, url string) error {
	b, err := location.Open(ctx, url)
	if err != nil {
		return err
	}
	_, err = storage.ReadAll(ctx, b, modelConfig, 1<<20)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("there is no teacher in %s, which needs %s and its weights beside it: %w", location.Redact(url), modelConfig, err)
	}
	return err
}
