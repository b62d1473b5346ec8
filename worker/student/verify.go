package student

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// ErrAltered says that a student's files do not agree with each other: they were changed, or are of different students.
var ErrAltered = errors.New("the files do not belong together")

// Verified is what Verify has found.
type Verified struct {
	Weights    string         `json:"weights_sha256"`       // of the files as they are
	Provenance *nn.Provenance `json:"provenance,omitempty"` // as config.json has it; nil: it has none
	Agreed     []string       `json:"agreed"`               // the files that name the same digest; none: older versions wrote none

	// Faults are the files that say something else, and what; with any, Verify's error is not nil.
	Faults []string `json:"faults,omitempty"`
}

// Verify computes the digest of the weights in a student's folder, and compares it with what config.json and the weights'
// metadata say, and with the run's summary.json. run is the run that the student is in; nil: none. Files that disagree are an
// ErrAltered, a model that does not decode or does not fit its config.json an ErrModel.
func Verify(ctx context.Context, folder, run storage.Bucket) (*Verified, error) {
	_, _, config, _, err := nn.LoadFolder(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	weights, err := safetensors.Get(ctx, folder, nn.WeightsFile)
	if err != nil {
		return nil, err
	}
	files := []*safetensors.File{weights}
	prior, err := safetensors.Get(ctx, folder, nn.PriorFile)
	switch {
	case err == nil:
		files = append(files, prior)
	case errors.Is(err, safetensors.ErrFormat):
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	v := &Verified{Provenance: config.Provenance, Agreed: []string{}}
	if v.Weights, err = safetensors.Digest(files...); err != nil {
		return nil, err
	}
	if config.Provenance != nil {
		v.compare(nn.ConfigFile, config.Provenance.Weights)
	}
	if err := v.metadata(weights.Metadata, config); err != nil {
		return nil, err
	}
	if run != nil {
		if err := v.summary(ctx, run); err != nil {
			return nil, err
		}
	}
	if len(v.Faults) > 0 {
		return v, fmt.Errorf("%w: %s", ErrAltered, v.Faults[0])
	}
	return v, nil
}

// compare takes note of what a file says that the digest is; "": nothing.
func (v *Verified) compare(file, digest string) {
	switch digest {
	case "":
	case v.Weights:
		v.Agreed = append(v.Agreed, file)
	default:
		v.Faults = append(v.Faults, fmt.Sprintf("the weights have the SHA-256 %s, and %s says %s", v.Weights, file, digest))
	}
}

// metadata compares what the weights say of themselves with config.json.
func (v *Verified) metadata(m map[string]string, config nn.ModelConfig) error {
	text, err := config.Encode()
	if err != nil {
		return err
	}
	if own, ok := m[wire.ConfigMetadata]; ok && !bytes.Equal([]byte(own), text) {
		v.Faults = append(v.Faults, fmt.Sprintf("the metadata of %s hold another config.json than the one beside it", nn.WeightsFile))
	}
	own, ok := m[wire.ProvenanceMetadata]
	if !ok {
		return nil
	}
	var p nn.Provenance
	if err := json.Unmarshal([]byte(own), &p); err != nil {
		v.Faults = append(v.Faults, fmt.Sprintf("%s in the metadata of %s: %v", wire.ProvenanceMetadata, nn.WeightsFile, err))
		return nil
	}
	v.compare("the metadata of "+nn.WeightsFile, p.Weights)
	if config.Provenance == nil || p != *config.Provenance {
		v.Faults = append(v.Faults, fmt.Sprintf("the metadata of %s name another provenance than config.json", nn.WeightsFile))
	}
	return nil
}

func (v *Verified) summary(ctx context.Context, run storage.Bucket) error {
	data, err := storage.ReadAll(ctx, run, wire.SummaryName, 16<<20)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	var s struct {
		Weights string `json:"weights_sha256"`
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return fmt.Errorf("%s/%s: %w", run.URL(), wire.SummaryName, err)
	}
	v.compare(wire.SummaryName, s.Weights)
	return nil
}
