package carry

import (
	"encoding/json"
	"fmt"
	"maps"

	"pupil/coordinator/wire"
	"pupil/internal/kernel"
	"pupil/internal/version"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/train"
)

// described is config.json of the student of a job after some steps, with what made it; average tells that the weights are
// the moving average, and weights is their digest.
func described(j *setup.Job, step int, average bool, weights string) nn.ModelConfig {
	c := j.StudentConfig
	c.Provenance = &nn.Provenance{
		Job: j.Spec.Digest(), Dataset: j.Data.Digest(), Teacher: j.TeacherDigest, Step: step, Seed: j.Spec.Seed,
		Average: average, Kernel: kernel.Class(), CodeVersion: version.String(), Weights: weights,
	}
	return c
}

// ofSnapshot are the metadata of the student in the checkpoint of a snapshot.
func ofSnapshot(j *setup.Job, s train.Snapshot) (map[string]string, error) {
	digest, err := s.Digest()
	if err != nil {
		return nil, err
	}
	return metadata(described(j, s.Step, false, digest))
}

// metadata are what a student's weights say of themselves, so that they can be used without their run.
func metadata(c nn.ModelConfig) (map[string]string, error) {
	config, err := c.Encode()
	if err != nil {
		return nil, fmt.Errorf("describe the student: %w", err)
	}
	provenance, err := json.Marshal(c.Provenance)
	if err != nil {
		return nil, fmt.Errorf("describe the student: %w", err)
	}
	return map[string]string{wire.ConfigMetadata: string(config), wire.ProvenanceMetadata: string(provenance)}, nil
}

// signed are a snapshot's parts, of which the student gets metadata. The snapshot stays as it is.
func signed(parts map[string]*safetensors.File, metadata map[string]string) map[string]*safetensors.File {
	student, ok := parts[train.PartStudent]
	if !ok || len(metadata) == 0 {
		return parts
	}
	parts = maps.Clone(parts)
	parts[train.PartStudent] = &safetensors.File{Tensors: student.Tensors, Metadata: metadata}
	return parts
}
