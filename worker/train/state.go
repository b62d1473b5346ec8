package train

import (
	"encoding/json"
	"fmt"
	"slices"

	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/optim"
)

// State is everything that the next step depends on, besides the job and the data. Equal states give equal students.
type State struct {
	Step       int // committed steps
	Network    *nn.Network
	Model      *nn.State
	Loss       *loss.State
	Optimizer  optim.Optimizer
	Average    *optim.Average // of Model over the steps; nil: none
	Scales     Scales         // of the next step's fixed-point sums; see SetWire
	Feedback   *Feedback      // of the lanes; nil: the sums have 32 bits
	Collapsing Collapsing
}

// The parts of a checkpoint. The student is the raw model; its average, if there is one, is beside the optimiser's moments.
const (
	PartStudent   = "student"
	PartPrior     = "prior"
	PartMoments   = "moments" // of the teacher's features
	PartOptimizer = "optimizer"
	PartFeedback  = "feedback" // of sums of 16 bits
)

// meta is the state that is no tensor.
type meta struct {
	Step       int        `json:"step"`
	Scales     Scales     `json:"scales"`
	Collapsing Collapsing `json:"collapsing"`
}

// Student is what the job makes: the average of the model if there is one, else the model.
func (s *State) Student() *nn.State {
	if s.Average == nil {
		return s.Model
	}
	return &nn.State{Params: s.Average.Params(), Buffers: s.Average.Statistics(), Batches: s.Model.Batches}
}

// moments are the optimiser's and the average's.
func (s *State) moments() []optim.Moment {
	return slices.Concat(s.Optimizer.Moments(), s.Average.Moments())
}

// Checkpoint copies the state, with the error feedback of all lanes, which must be known here.
func (s *State) Checkpoint() (Snapshot, error) {
	snap, err := s.Snapshot()
	if err == nil && s.Feedback != nil {
		snap.Parts[PartFeedback], err = s.Feedback.export()
	}
	return snap, err
}

// Snapshot copies what all workers have alike: the state without the lanes' error feedback.
func (s *State) Snapshot() (Snapshot, error) {
	m, err := json.Marshal(meta{s.Step, s.Scales, s.Collapsing})
	if err != nil {
		return Snapshot{}, fmt.Errorf("encode the trainer's state: %w", err)
	}
	moments := &safetensors.File{}
	for _, o := range s.moments() {
		moments.Tensors = append(moments.Tensors, safetensors.FromFloat32(o.Name, []int{len(o.Values)}, o.Values))
	}
	parts := map[string]*safetensors.File{
		PartStudent:   s.Network.Export(s.Model),
		PartOptimizer: moments,
	}
	if prior := s.ExportPrior(); prior != nil {
		parts[PartPrior] = prior
	}
	if moments := exportFeatureMoments(s.Loss); moments != nil {
		parts[PartMoments] = moments
	}
	return Snapshot{Step: s.Step, Parts: parts, Meta: m}, nil
}

// Restore puts a checkpoint or a snapshot back into a state that was made for the same job. After a snapshot without
// the lanes' error feedback, GatherFeedback gets it from other workers.
func (s *State) Restore(snap Snapshot) error {
	m := meta{Scales: s.Scales}
	if err := json.Unmarshal(snap.Meta, &m); err != nil {
		return fmt.Errorf("decode the trainer's state: %w", err)
	}
	if m.Step != snap.Step {
		return fmt.Errorf("the checkpoint of step %d holds the state of step %d", snap.Step, m.Step)
	}
	for _, p := range []struct {
		name   string
		needed bool
		read   func(f *safetensors.File) error
	}{
		{PartStudent, true, func(f *safetensors.File) error { return s.Network.Import(s.Model, f) }},
		{PartOptimizer, true, func(f *safetensors.File) error { return importMoments(s.moments(), f) }},
		{PartPrior, len(s.Loss.Priors) > 0, func(f *safetensors.File) error { return importPriors(s.Loss.Priors, f) }},
		{PartMoments, exportFeatureMoments(s.Loss) != nil, func(f *safetensors.File) error { return importFeatureMoments(s.Loss, f) }},
	} {
		if !p.needed {
			continue
		}
		f, ok := snap.Parts[p.name]
		if !ok {
			return fmt.Errorf("the checkpoint has no part %q", p.name)
		}
		if err := p.read(f); err != nil {
			return fmt.Errorf("part %q: %w", p.name, err)
		}
	}
	if s.Feedback != nil {
		if err := s.Feedback.restore(snap.Parts[PartFeedback]); err != nil {
			return fmt.Errorf("part %q: %w", PartFeedback, err)
		}
	}
	s.Step, s.Collapsing = m.Step, m.Collapsing
	return nil
}

// Digest is the SHA-256, in hex, of what training makes: the student's weights and running statistics as model.safetensors,
// followed by the prior (m, d and a) as prior.safetensors, both without metadata (safetensors.Digest).
func (s *State) Digest() (string, error) {
	files := []*safetensors.File{s.Network.Export(s.Student())}
	if prior := s.ExportPrior(); prior != nil {
		files = append(files, prior)
	}
	digest, err := safetensors.Digest(files...)
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	return digest, nil
}

// Digest is that of the raw weights and the prior: the State's, where it keeps no average.
func (s Snapshot) Digest() (string, error) {
	var files []*safetensors.File
	for _, name := range []string{PartStudent, PartPrior} {
		if f, ok := s.Parts[name]; ok {
			files = append(files, f)
		}
	}
	return safetensors.Digest(files...)
}

func importMoments(moments []optim.Moment, f *safetensors.File) error {
	for _, m := range moments {
		if err := copyTensor(m.Values, f, m.Name); err != nil {
			return err
		}
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
