package wire

import (
	"encoding/json"
	"errors"
	"time"

	"pupil/coordinator/job"
)

// The names in a run's storage that coordinator and workers share.
const (
	RecordName    = "run.json"     // a Record
	SummaryName   = "summary.json" // what the run has reached, written when it has ended well
	StudentFolder = "student"      // the finished student: model.safetensors, config.json, prior.safetensors
)

// The metadata of a student's weights, in its folder and in a checkpoint.
const (
	ConfigMetadata     = "pupil.config"     // its config.json
	ProvenanceMetadata = "pupil.provenance" // what made it, as config.json has it
)

// Record is what a run's storage says of itself.
type Record struct {
	Job     string    `json:"job"`     // its name
	Digest  string    `json:"digest"`  // of the job
	Version string    `json:"version"` // of the build that began the run
	Created time.Time `json:"created"`
	Spec    *job.Spec `json:"spec"` // the job as it was submitted, with all defaults
}

// DecodeRecord reads a Record.
func DecodeRecord(data []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Spec == nil {
		return nil, errors.New("it names no job")
	}
	return &r, nil
}
