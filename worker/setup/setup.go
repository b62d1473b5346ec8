// Package setup turns a job into the things that it names: data, networks, views, loss, optimiser. Training and
// evaluation begin with it, so both see the same student.
package setup

import (
	"context"
	"fmt"
	"os"
	"slices"

	"pupil/allreduce"
	"pupil/augment"
	"pupil/coordinator/job"
	"pupil/loss"
	"pupil/storage/dataset"
	"pupil/storage/diskcache"
	"pupil/storage/location"
	"pupil/worker/nn"
	"pupil/worker/optim"
	"pupil/worker/train"
)

// Job is a job with all that it names opened and checked against each other.
type Job struct {
	Spec  *job.Spec
	Data  *dataset.Dataset
	Order dataset.Order
	Steps int // of the whole job

	Student       *nn.Network
	StudentConfig nn.ModelConfig // config.json of the student's folder

	Teacher       *nn.Network // nil: supervised
	TeacherState  *nn.State
	TeacherDigest string // "" without a teacher
	TeacherConfig nn.ModelConfig

	Loss  *loss.Loss
	Heads []train.Head // where the loss's heads come from
	Views *augment.Views
}

// Open reads the dataset's manifest and the teacher, and builds what the job describes.
func Open(ctx context.Context, spec *job.Spec) (*Job, error) {
	j := &Job{Spec: spec}
	if err := j.openData(ctx); err != nil {
		return nil, err
	}
	if err := j.openTeacher(ctx); err != nil {
		return nil, err
	}
	if err := j.buildStudent(); err != nil {
		return nil, err
	}
	if err := j.buildViews(); err != nil {
		return nil, err
	}
	if err := j.buildLoss(); err != nil {
		return nil, err
	}
	return j, nil
}

func (j *Job) openData(ctx context.Context) (err error) {
	s := j.Spec
	if j.Data, err = openDataset(ctx, "dataset.train", s.Dataset.Train, s.Dataset.Chunk); err != nil {
		return err
	}
	m := j.Data.Manifest()
	j.Order = dataset.Order{Count: m.Count, Batch: s.Batch, Lanes: s.Lanes, Chunk: s.Dataset.Chunk, Seed: s.Seed}
	for _, shard := range m.Shards {
		j.Order.ShardCounts = append(j.Order.ShardCounts, shard.Count)
	}
	if m.Count < s.Batch {
		return fmt.Errorf("dataset.train: %s holds %d images, fewer than a batch of %d; make batch smaller",
			s.Dataset.Train, m.Count, s.Batch)
	}
	j.Steps, err = s.TotalSteps(m.Count)
	return err
}

// openDataset opens packed images, which are used in chunks of consecutive ones. Those of a store go through a cache on disk.
func openDataset(ctx context.Context, key, url string, chunk int) (*dataset.Dataset, error) {
	b, err := location.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	options := []dataset.Option{dataset.Block(chunk)}
	if !location.Local(url) {
		disk, err := diskcache.FromEnvironment(os.Getenv, nil)
		if err != nil {
			return nil, err
		}
		options = append(options, dataset.Disk(disk))
	}
	d, err := dataset.Open(ctx, b, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return d, nil
}

// OpenTest opens the held-out images, or returns nil when the job names none.
func (j *Job) OpenTest(ctx context.Context) (*dataset.Dataset, error) {
	if j.Spec.Dataset.Test == "" {
		return nil, nil
	}
	return openDataset(ctx, "dataset.test", j.Spec.Dataset.Test, j.Spec.Dataset.Chunk)
}

func (j *Job) openTeacher(ctx context.Context) error {
	t := j.Spec.Teacher
	if t == nil {
		return nil
	}
	b, err := location.Open(ctx, t.Model)
	if err != nil {
		return fmt.Errorf("teacher.model: %w", err)
	}
	j.Teacher, j.TeacherState, j.TeacherConfig, j.TeacherDigest, err = nn.LoadFolder(ctx, b)
	if err != nil {
		return fmt.Errorf("teacher.model: %w", err)
	}
	c := j.TeacherConfig
	if c.Size != j.Spec.Student.Size || c.Channels != j.Spec.Student.Channels {
		return fmt.Errorf("student.size and student.channels are %d and %d, but the teacher in %s takes %d and %d",
			j.Spec.Student.Size, j.Spec.Student.Channels, t.Model, c.Size, c.Channels)
	}
	return nil
}

// FreezeTeacher prepares the teacher for all lanes of a worker. Without a teacher it returns nil.
func (j *Job) FreezeTeacher() (*nn.Frozen, error) {
	if j.Teacher == nil {
		return nil, nil
	}
	return j.Teacher.Freeze(j.TeacherState, j.TeacherFreeze())
}

// TeacherFreeze says how the job wants its teacher prepared.
func (j *Job) TeacherFreeze() nn.FreezeConfig {
	return nn.FreezeConfig{Direct: j.Spec.Teacher != nil && !j.Spec.Teacher.Winograd}
}

func (j *Job) buildStudent() (err error) {
	s := j.Spec.Student
	manifest := j.Data.Manifest()
	c := nn.Config{Architecture: s.Architecture, Width: s.Width, Size: s.Size, Channels: s.Channels}
	if j.Spec.Uses(job.FeaturesLogits) { // else a classifier would never learn
		c.Outputs = j.outputs(manifest)
	}
	if j.Spec.Uses(job.FeaturesPooled) && s.Projection {
		c.Projection = j.Teacher.Features()
	}
	if j.Student, err = nn.New(c); err != nil {
		return fmt.Errorf("student: %w", err)
	}
	j.StudentConfig = nn.ModelConfig{Config: c, Classes: classNames(j, manifest, c.Outputs)}
	return nil
}

// outputs is the width of the student's logits.
func (j *Job) outputs(m dataset.Manifest) int {
	if n := j.Spec.Student.Outputs; n > 0 {
		return n
	}
	for _, t := range j.Spec.Loss {
		if t.Features == job.FeaturesLogits && t.NeedsTeacher() {
			return j.TeacherConfig.Outputs
		}
	}
	return len(m.Classes)
}

// classNames are the names of the student's outputs, when they are known.
func classNames(j *Job, m dataset.Manifest, outputs int) []string {
	switch {
	case outputs == 0:
	case j.Teacher != nil && len(j.TeacherConfig.Classes) == outputs:
		return j.TeacherConfig.Classes
	case len(m.Classes) == outputs && (j.Teacher == nil || j.labelled()):
		return m.Classes
	}
	return nil
}

func (j *Job) buildViews() (err error) {
	s := j.Spec
	m := j.Data.Manifest()
	fallback := &nn.Normalize{Mean: adapt(m.Mean, s.Student.Channels), Std: adapt(m.Std, s.Student.Channels)}
	var teacher *augment.Pipeline
	if j.Teacher != nil {
		if j.TeacherConfig.Normalize != nil {
			fallback = j.TeacherConfig.Normalize
		}
		j.TeacherConfig.Normalize = choose(s.Views.Teacher.Normalize, fallback)
		if teacher, err = view(s.Views.Teacher, s.Student, j.TeacherConfig.Normalize); err != nil {
			return fmt.Errorf("views.teacher: %w", err)
		}
	}
	j.StudentConfig.Normalize = choose(s.Views.Student.Normalize, fallback)
	student, err := view(s.Views.Student, s.Student, j.StudentConfig.Normalize)
	if err != nil {
		return fmt.Errorf("views.student: %w", err)
	}
	policy := augment.Policy(s.Views.Policy)
	if teacher == nil {
		policy = augment.PolicyIndependent // there is one view
	}
	if j.Views, err = augment.NewViews(teacher, student, policy); err != nil {
		return fmt.Errorf("views: %w", err)
	}
	return nil
}

// adapt makes per-channel values of a dataset fit a network that takes another number of channels.
func adapt(v []float64, channels int) []float64 {
	switch {
	case len(v) == channels:
		return v
	case len(v) == 1:
		return slices.Repeat(v, channels)
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return []float64{sum / float64(len(v))}
}

func choose(n *job.Normalize, fallback *nn.Normalize) *nn.Normalize {
	if n == nil {
		return fallback
	}
	return &nn.Normalize{Mean: n.Mean, Std: n.Std}
}

func view(v job.View, s job.Student, n *nn.Normalize) (*augment.Pipeline, error) {
	return augment.New(augment.Config{
		Size: s.Size, Channels: s.Channels,
		Crop:       augment.Crop{Scale: v.Crop.Scale, Ratio: v.Crop.Ratio},
		Flip:       v.Flip,
		Rotate:     v.Rotate,
		Brightness: v.Brightness,
		Occlude: augment.Occlude{
			Probability: v.Occlude.Probability, Scale: v.Occlude.Scale, Ratio: v.Occlude.Ratio, Value: v.Occlude.Value,
		},
		Mean: n.Mean, Std: n.Std,
	})
}

// Plain is the pipeline without augmentation for a network, as its config says: the largest centred square, or resized and
// then cut; normalised.
func Plain(c nn.ModelConfig) (*augment.Pipeline, error) {
	p := augment.Config{Size: c.Size, Channels: c.Channels, Resize: c.Resize}
	if c.Normalize != nil {
		p.Mean, p.Std = c.Normalize.Mean, c.Normalize.Std
	}
	return augment.New(p)
}

// State returns the state before the first step: random weights and prior, from the job's seed.
func (j *Job) State(ctx context.Context) (*train.State, error) {
	s := &train.State{Network: j.Student, Model: j.Student.NewState()}
	if err := j.initialise(ctx, s.Model); err != nil {
		return nil, err
	}
	var err error
	if s.Loss, err = j.Loss.NewState(); err != nil {
		return nil, err
	}
	if s.Optimizer, err = j.optimizer(); err != nil {
		return nil, err
	}
	if s.Average, err = j.average(s.Model); err != nil {
		return nil, err
	}
	if err := s.SetWire(formats[j.Spec.Wire], j.Spec.Lanes); err != nil {
		return nil, err
	}
	return s, nil
}

// formats are those of the job's wire.
var formats = map[string]allreduce.Format{job.WireInt32: allreduce.Fixed32, job.WireInt16: allreduce.Fixed16}

func (j *Job) initialise(ctx context.Context, s *nn.State) error {
	if j.Spec.Student.Init == "" {
		j.Student.Init(s, j.Spec.Seed)
		return nil
	}
	b, err := location.Open(ctx, j.Spec.Student.Init)
	if err != nil {
		return fmt.Errorf("student.init: %w", err)
	}
	if err := j.Student.ImportFolder(ctx, s, b); err != nil {
		return fmt.Errorf("student.init: %w", err)
	}
	return nil
}

func (j *Job) optimizer() (optim.Optimizer, error) {
	var groups []optim.Group
	size := 0
	for _, p := range j.Student.Params() {
		groups = append(groups, optim.Group{Offset: p.Offset, Len: p.Len, Decay: p.Kind == nn.Weight})
		size = max(size, p.Offset+p.Len)
	}
	o := j.Spec.Optimizer
	return optim.New(optim.Config{
		Name: o.Name, WeightDecay: o.WeightDecay, Momentum: o.Momentum, Nesterov: o.Nesterov,
		TrustCoefficient: o.TrustCoefficient, Beta1: o.Betas[0], Beta2: o.Betas[1], Epsilon: o.Epsilon,
	}, size, groups)
}

// average is that of the job, begun at the initial weights, or nil.
func (j *Job) average(s *nn.State) (*optim.Average, error) {
	if a := j.Spec.Average; a.Decay > 0 {
		return optim.NewAverage(optim.AverageConfig{Decay: a.Decay, Warmup: a.Warmup}, s.Params, s.Buffers)
	}
	return nil, nil
}

// Schedule is the learning rate of the job's steps.
func (j *Job) Schedule() optim.Schedule {
	s := j.Spec.Schedule
	return optim.Schedule{
		Name: s.Name, Peak: j.Spec.Optimizer.LearningRate, Warmup: s.Warmup, Final: s.Final, Steps: j.Steps,
		Milestones: s.Milestones, Gamma: s.Gamma,
		PctStart: s.PctStart, DivFactor: s.DivFactor, FinalDivFactor: s.FinalDivFactor,
	}
}
