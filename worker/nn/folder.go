package nn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"pupil/storage"
	"pupil/storage/safetensors"
)

// The objects of a model's folder.
const (
	ConfigFile  = "config.json"
	WeightsFile = "model.safetensors"
	PriorFile   = "prior.safetensors" // the prior that a student was trained with; not needed to use it
)

const (
	maxConfigBytes  = 16 << 20
	maxWeightsBytes = 8 << 30
)

// ModelConfig is config.json of a model's folder: the network, and what its user must know.
type ModelConfig struct {
	Config
	Normalize *Normalize `json:"normalize,omitempty"` // of the images that the network was trained on; nil: not known
	Resize    int        `json:"resize,omitempty"`    // see augment.Config; 0: images are cut to squares before the resize
	Classes   []string   `json:"classes,omitempty"`   // names of the outputs, in order; empty: not known

	Provenance *Provenance `json:"provenance,omitempty"` // where the weights come from; nil: not known
}

// Provenance says what made the weights of a model.
type Provenance struct {
	Job         string `json:"job"`               // digest of the job
	Dataset     string `json:"dataset"`           // digest of the training images
	Teacher     string `json:"teacher,omitempty"` // digest of the teacher's folder
	Step        int    `json:"step"`              // committed steps
	Seed        uint64 `json:"seed"`
	Average     bool   `json:"average"`      // the weights are the moving average, not the raw ones
	Kernel      string `json:"kernel"`       // kernels that computed them
	CodeVersion string `json:"code_version"` // build that wrote them

	// Weights is the SHA-256, in hex, of model.safetensors and of prior.safetensors, where there is one, without their metadata
	// (safetensors.Digest); "" in folders of older versions.
	Weights string `json:"weights_sha256,omitempty"`
}

// Normalize is (x - mean) / std for pixels x in [0, 1], a value for each channel.
type Normalize struct {
	Mean []float64 `json:"mean"`
	Std  []float64 `json:"std"`
}

// Validate lists every fault of the fields.
func (c ModelConfig) Validate() error {
	faults := []error{c.Config.Validate()}
	if c.Normalize != nil {
		faults = append(faults, c.Normalize.validate(c.Channels))
	}
	if c.Resize != 0 && (c.Resize < c.Size || c.Resize > 2*MaxSize) {
		faults = append(faults, fmt.Errorf("resize is %d; it must be 0, or at least the size %d and at most %d", c.Resize,
			c.Size, 2*MaxSize))
	}
	if n := len(c.Classes); n > 0 && n != c.Outputs {
		faults = append(faults, fmt.Errorf("classes has %d names; outputs is %d", n, c.Outputs))
	}
	return errors.Join(faults...)
}

func (n *Normalize) validate(channels int) error {
	if len(n.Mean) != channels || len(n.Std) != channels {
		return fmt.Errorf("normalize has %d means and %d deviations; channels is %d", len(n.Mean), len(n.Std), channels)
	}
	for i, mean := range n.Mean {
		if std := n.Std[i]; math.IsInf(mean, 0) || math.IsNaN(mean) || !(std > 0) || math.IsInf(std, 0) {
			return fmt.Errorf("normalize: channel %d has mean %v and deviation %v; "+
				"they must be finite, the deviation above 0", i, mean, std)
		}
	}
	return nil
}

// DecodeModelConfig reads and validates a config.json. An unknown field is an error.
func DecodeModelConfig(data []byte) (ModelConfig, error) {
	var c ModelConfig
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return ModelConfig{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return ModelConfig{}, errors.New("there is more than one JSON value")
	}
	if err := c.Validate(); err != nil {
		return ModelConfig{}, err
	}
	return c, nil
}

// Encode writes a config.json, the same bytes for the same config.
func (c ModelConfig) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}

// LoadFolder reads a model: its config.json and its model.safetensors. The digest names both: it is what
// "sha256sum config.json model.safetensors | sha256sum" prints.
func LoadFolder(ctx context.Context, b storage.Bucket) (*Network, *State, ModelConfig, string, error) {
	fail := func(err error) (*Network, *State, ModelConfig, string, error) {
		return nil, nil, ModelConfig{}, "", err
	}
	data, err := storage.ReadAll(ctx, b, ConfigFile, maxConfigBytes)
	if err != nil {
		return fail(err)
	}
	c, err := DecodeModelConfig(data)
	if err != nil {
		return fail(fmt.Errorf("%s/%s: %w", b.URL(), ConfigFile, err))
	}
	n, err := New(c.Config)
	if err != nil {
		return fail(fmt.Errorf("%s/%s: %w", b.URL(), ConfigFile, err))
	}
	s := n.NewState()
	weights, err := importFolder(ctx, b, func(f *safetensors.File) error { return n.Import(s, f) })
	if err != nil {
		return fail(err)
	}
	return n, s, c, digest(data, weights), nil
}

// ImportFolder reads the weights of a model's folder into a state of this network, for a student to start with;
// config.json is not read. It is Import, but that a head (classifier or projection) that only the file has is left out, and
// one that only the network has stays as it is in s.
func (n *Network) ImportFolder(ctx context.Context, s *State, b storage.Bucket) error {
	_, err := importFolder(ctx, b, func(f *safetensors.File) error { return n.importStart(s, f) })
	return err
}

// importFolder hands a folder's weights to take, and returns the file's bytes.
func importFolder(ctx context.Context, b storage.Bucket, take func(*safetensors.File) error) ([]byte, error) {
	data, err := storage.ReadAll(ctx, b, WeightsFile, maxWeightsBytes)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Decode(data)
	if err == nil {
		err = take(f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", b.URL(), WeightsFile, err)
	}
	return data, nil
}

// SaveFolder writes a model: first the weights, with metadata in their file (nil: none), then config.json. The config must be
// that of the network.
func SaveFolder(ctx context.Context, b storage.Bucket, n *Network, s *State, c ModelConfig, metadata map[string]string) error {
	if c.Config != n.config {
		return fmt.Errorf("save %s: the config describes %+v, the network is %+v", b.URL(), c.Config, n.config)
	}
	data, err := c.Encode()
	if err != nil {
		return fmt.Errorf("save %s: %w", b.URL(), err)
	}
	weights := n.Export(s)
	weights.Metadata = metadata
	if err := safetensors.Put(ctx, b, WeightsFile, weights); err != nil {
		return err
	}
	return storage.WriteAll(ctx, b, ConfigFile, data)
}

func digest(config, weights []byte) string {
	list := fmt.Sprintf("%x  %s\n%x  %s\n", sha256.Sum256(config), ConfigFile, sha256.Sum256(weights), WeightsFile)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(list)))
}
