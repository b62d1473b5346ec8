package student

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"pupil/augment"
	"pupil/storage"
	"pupil/storage/location"
	"pupil/worker/nn"
	"pupil/worker/setup"
)

// Model is a trained network, ready to be used. It is immutable and safe for concurrent use.
type Model struct {
	Network *nn.Network
	State   *nn.State
	Config  nn.ModelConfig
	Digest  string // of config.json and model.safetensors, see nn.LoadFolder
	Folder  storage.Bucket

	view   *augment.Pipeline
	frozen func() (*nn.Frozen, error) // made when it is first needed
}

// ErrModel says that a folder holds no model that can be used. Test for it with errors.Is.
var ErrModel = errors.New("no usable model")

// Open reads the model of a folder, given as path or URL.
func Open(ctx context.Context, address string) (*Model, error) {
	url, err := location.FromPath(address)
	if err != nil {
		return nil, err
	}
	b, err := location.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	m, err := Load(ctx, b)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("%w in %s: a model's folder has %s and %s, as the folder student of a run: %w", ErrModel,
			address, nn.ConfigFile, nn.WeightsFile, err)
	}
	return m, err
}

// Load reads the model of a bucket. Weights that are not finite are refused.
func Load(ctx context.Context, b storage.Bucket) (*Model, error) {
	n, s, c, digest, err := nn.LoadFolder(ctx, b)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	if err := finite(n, s); err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrModel, b.URL(), nn.WeightsFile, err)
	}
	m, err := NewModel(n, s, c)
	if err != nil {
		return nil, err
	}
	m.Digest, m.Folder = digest, b
	return m, nil
}

// NewModel is a network that is in memory; it has no digest. s must not change any more.
func NewModel(n *nn.Network, s *nn.State, c nn.ModelConfig) (*Model, error) {
	view, err := setup.Plain(c)
	if err != nil {
		return nil, err
	}
	frozen := sync.OnceValues(func() (*nn.Frozen, error) { return n.Freeze(s, nn.FreezeConfig{}) })
	return &Model{Network: n, State: s, Config: c, view: view, frozen: frozen}, nil
}

// With is the model with images seen through another view, for what it does to them: of the same size and channels.
func (m *Model) With(view *augment.Pipeline) (*Model, error) {
	if got, want := view.Config(), m.view.Config(); got.Size != want.Size || got.Channels != want.Channels {
		return nil, fmt.Errorf("a view of %d x %d x %d for a network of %d x %d x %d", got.Size, got.Size, got.Channels,
			want.Size, want.Size, want.Channels)
	}
	other := *m
	other.view = view
	return &other, nil
}

// View is what images go through.
func (m *Model) View() *augment.Pipeline { return m.view }

// finite names the first tensor with a value that is not.
func finite(n *nn.Network, s *nn.State) error {
	for _, part := range []struct {
		tensors []nn.Tensor
		values  []float32
	}{{n.Params(), s.Params}, {n.Buffers(), s.Buffers}} {
		for _, t := range part.tensors {
			for _, v := range part.values[t.Offset:][:t.Len] {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("tensor %s has the value %v; the training that made it failed", t.Name, v)
				}
			}
		}
	}
	return nil
}
