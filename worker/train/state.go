package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"pupil/allreduce"
	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// State is everything that the next step depends on, besides the job and the data. Equal states give equal students.
type State struct {
	Step      int // committed steps
	Network   *nn.Network
	Model     *nn.State
	Prior     *loss.Prior // nil: the loss has none
	Optimizer optim.Optimizer
	Scaler    *allreduce.Scaler // exponents of the next step's fixed-point sums
	Collapsed int               // steps in a row with too few used classes
}

// The parts of a checkpoint. Student and prior are also what a user takes away.
const (
	PartStudent   = "student"
	PartPrior     = "prior"
	PartOptimizer = "optimizer"
)

// meta is the state that is no tensor.
type meta struct {
	Step      int               `json:"step"`
	Scaler    *allreduce.Scaler `json:"scaler"`
	Collapsed int               `json:"collapsed"`
}

// Snapshot copies the state.
func (s *State) Snapshot() (Snapshot, error) {
	m, err := json.Marshal(meta{s.Step, s.Scaler, s.Collapsed})
	if err != nil {
		return Snapshot{}, fmt.Errorf("encode the trainer's state: %w", err)
	}
	moments := &safetensors.File{}
	for _, o := range s.Optimizer.Moments() {
		moments.Tensors = append(moments.Tensors, safetensors.FromFloat32(o.Name, []int{len(o.Values)}, o.Values))
	}
	parts := map[string]*safetensors.File{
		PartStudent:   s.Network.Export(s.Model),
		PartOptimizer: moments,
	}
	if prior := s.ExportPrior(); prior != nil {
		parts[PartPrior] = prior
	}
	return Snapshot{Step: s.Step, Parts: parts, Meta: m}, nil
}

// Restore puts a snapshot back into a state that was made for the same job.
func (s *State) Restore(snap Snapshot) error {
	m := meta{Scaler: s.Scaler}
	if err := json.Unmarshal(snap.Meta, &m); err != nil {
		return fmt.Errorf("decode the trainer's state: %w", err)
	}
	if m.Step != snap.Step {
		return fmt.Errorf("the checkpoint of step %d holds the state of step %d", snap.Step, m.Step)
	}
	student, ok := snap.Parts[PartStudent]
	if !ok {
		return fmt.Errorf("the checkpoint has no part %q", PartStudent)
	}
	if err := s.Network.Import(s.Model, student); err != nil {
		return fmt.Errorf("part %q: %w", PartStudent, err)
	}
	moments, ok := snap.Parts[PartOptimizer]
	if !ok {
		return fmt.Errorf("the checkpoint has no part %q", PartOptimizer)
	}
	for _, o := range s.Optimizer.Moments() {
		if err := copyTensor(o.Values, moments, o.Name); err != nil {
			return fmt.Errorf("part %q: %w", PartOptimizer, err)
		}
	}
	if s.Prior != nil {
		prior, ok := snap.Parts[PartPrior]
		if !ok {
			return fmt.Errorf("the checkpoint has no part %q", PartPrior)
		}
		if err := importPrior(s.Prior, prior); err != nil {
			return fmt.Errorf("part %q: %w", PartPrior, err)
		}
	}
	s.Step, s.Collapsed = m.Step, m.Collapsed
	return nil
}

// Digest is the SHA-256, in hex, of what training makes: the bytes of the student's weights and running statistics as
// model.safetensors, followed by those of the prior (m, d and a) as prior.safetensors. So a user can check it with
// `cat model.safetensors prior.safetensors | sha256sum`.
func (s *State) Digest() (string, error) {
	h := sha256.New()
	files := []*safetensors.File{s.Network.Export(s.Model)}
	if prior := s.ExportPrior(); prior != nil {
		files = append(files, prior)
	}
	for _, f := range files {
		data, err := f.Encode()
		if err != nil {
			return "", fmt.Errorf("digest of the weights: %w", err)
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ExportPrior is prior.safetensors, or nil when the loss has no prior.
func (s *State) ExportPrior() *safetensors.File {
	p := s.Prior
	if p == nil {
		return nil
	}
	shape := []int{p.Groups, p.Classes}
	return &safetensors.File{Tensors: []safetensors.Tensor{
		safetensors.FromFloat64("m", shape, p.M),
		safetensors.FromFloat64("d", shape, p.D),
		safetensors.FromFloat64("a", shape, p.A),
		safetensors.FromFloat64("w", []int{p.Groups}, p.W),
	}}
}

func importPrior(p *loss.Prior, f *safetensors.File) error {
	for _, x := range []struct {
		name string
		to   []float64
	}{{"m", p.M}, {"d", p.D}, {"a", p.A}, {"w", p.W}} {
		t, ok := f.Lookup(x.name)
		if !ok {
			return fmt.Errorf("tensor %q is missing", x.name)
		}
		v, err := t.Float64()
		if err != nil {
			return err
		}
		if len(v) != len(x.to) {
			return fmt.Errorf("tensor %q has shape %v; the job needs %d elements", x.name, t.Shape, len(x.to))
		}
		copy(x.to, v)
	}
	return nil
}

func copyTensor(dst []float32, f *safetensors.File, name string) error {
	t, ok := f.Lookup(name)
	if !ok {
		return fmt.Errorf("tensor %q is missing", name)
	}
	v, err := t.Float32()
	if err != nil {
		return err
	}
	if !slices.Equal(t.Shape, []int{len(dst)}) {
		return fmt.Errorf("tensor %q has shape %v; the job needs [%d]", name, t.Shape, len(dst))
	}
	copy(dst, v)
	return nil
}
