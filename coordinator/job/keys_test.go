package job_test

import (
	"strings"
	"testing"

	"pupil/coordinator/job"
)

// TestKeysInLocations writes keys into a job file, which refuses them without repeating them.
func TestKeysInLocations(t *testing.T) {
	for _, address := range []string{
		"s3://key:hunter2@bucket/train", "s3://bucket/train?secret_key=hunter2", "s3://bucket?X-Amz-Signature=hunter2",
		"s3://bucket?session_token=hunter2", "s3://key:hunter2%zz@bucket",
	} {
		for _, set := range [][]string{nil, {"dataset.train=" + address}} {
			text := "name: a\ndataset: {train: '" + address + "'}\nteacher: {model: a}\nsteps: 1\n"
			_, err := job.Decode([]byte(text), "job.yaml", set)
			if err == nil || !strings.Contains(err.Error(), "PUPIL_S3_SECRET_KEY") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
	text := "name: a\ndataset: {train: 's3://bucket/train?endpoint=https://store:9000&region=x'}\nteacher: {model: a}\nsteps: 1\n"
	if _, err := job.Decode([]byte(text), "job.yaml", nil); err != nil {
		t.Error(err)
	}
}

func TestUnsavedSteps(t *testing.T) {
	text := "name: a\ndataset: {train: a}\nteacher: {model: a}\nsteps: 1\ncheckpoint: {every: 50, unsaved: "
	if _, err := job.Decode([]byte(text+"49}\n"), "job.yaml", nil); err == nil || !strings.Contains(err.Error(), "checkpoint.unsaved: is 49") {
		t.Errorf("unsaved below every: %v", err)
	}
	for unsaved, want := range map[string]int{"0": 500, "50": 50} {
		s, err := job.Decode([]byte(text+unsaved+"}\n"), "job.yaml", nil)
		if err != nil || s.Checkpoint.MaxUnsaved() != want {
			t.Errorf("unsaved %s: %d, %v", unsaved, s.Checkpoint.MaxUnsaved(), err)
		}
	}
}
