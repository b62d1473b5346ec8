package setup

import (
	"context"
	"fmt"

	"pupil/augment"
	"pupil/augment/sheet"
	"pupil/coordinator/job"
)

// Sheet draws images of the training data, spread over it evenly, each with its views in the first epochs: those that
// the job trains on. A broken image is an error, or left out where the job skips them.
func (j *Job) Sheet(ctx context.Context, images, views int) ([]sheet.Row, error) {
	count := j.Data.Count()
	images = min(images, count)
	var rows []sheet.Row
	for i := range images {
		number := i * count / images
		sample, data, err := j.Data.Sample(ctx, number)
		if err != nil {
			return nil, err
		}
		img, err := augment.DecodeOver(data, j.Spec.Student.Channels, j.Views.Background())
		if err != nil {
			if j.Spec.Dataset.Broken == job.BrokenSkip {
				continue
			}
			return nil, fmt.Errorf("%s: %w", j.Data.Describe(sample), err)
		}
		key := augment.Key{Seed: j.Spec.Seed, Sample: uint64(number)}
		rows = append(rows, sheet.NewRow(sample.Name, img, j.Views, key, views))
	}
	return rows, nil
}
