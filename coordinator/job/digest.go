package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
)

// Digest names the result of the job: the SHA-256, in hexadecimal, of its canonical JSON (keys sorted, all defaults in
// place) without what does not determine the student. Left out are the name, bucket, checkpoint.*, evaluate.*, health.* (unless
// collapse.effective_rank looks at what it measures), views.strength, whose derived numbers count, and the locations
// dataset.train, dataset.test, teacher.model and student.init, whose contents have digests of their own. That there is
// a teacher or an initial model counts, where it lies does not.
func (s *Spec) Digest() string {
	c := *s
	c.Name, c.Dataset.Train, c.Dataset.Test, c.Bucket = "", "", "", 0
	c.Checkpoint, c.Evaluate, c.Views.Strength = Checkpoint{}, Evaluate{}, 0
	if s.Collapse.EffectiveRank == 0 {
		c.Health = Health{}
	}
	if s.Teacher != nil {
		t := *s.Teacher
		t.Model = ""
		c.Teacher = &t
	}
	if c.Student.Init != "" {
		c.Student.Init = "given"
	}
	sum := sha256.Sum256(canonical(&c))
	return hex.EncodeToString(sum[:])
}

// canonical returns JSON with sorted keys, so that the order of the struct's fields does not matter. A decoded Spec
// always has JSON, for the decoder lets no infinite number in; of another that has one, the error stands for it.
func canonical(s *Spec) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		return []byte(err.Error())
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a seed may need more bits than a float64 has
	var sorted map[string]any
	if err := decoder.Decode(&sorted); err != nil {
		return []byte(err.Error())
	}
	if data, err = json.Marshal(sorted); err != nil {
		return []byte(err.Error())
	}
	return data
}

// TotalSteps returns the optimiser steps of the job on a dataset of a number of samples. An epoch has as many steps as
// the dataset holds whole batches; a fraction of an epoch is rounded to the nearest step, and a job has at least one.
func (s *Spec) TotalSteps(samples int) (int, error) {
	if s.Steps > 0 {
		return s.Steps, nil
	}
	if s.Batch < 1 {
		return 0, fmt.Errorf("total steps: batch is %d; it must be at least 1", s.Batch)
	}
	perEpoch := samples / s.Batch
	if perEpoch < 1 {
		return 0, fmt.Errorf("total steps: the dataset has %d images, fewer than a batch of %d; make batch smaller", samples,
			s.Batch)
	}
	steps := math.Round(s.Epochs * float64(perEpoch))
	if !(steps < 1<<31) {
		return 0, fmt.Errorf("total steps: %v epochs of %d steps are too many; give fewer epochs", s.Epochs, perEpoch)
	}
	return max(1, int(steps)), nil
}
