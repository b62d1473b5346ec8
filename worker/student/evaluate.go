package student

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"pupil/coordinator/job"
	"pupil/storage"
	"pupil/storage/dataset"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/setup"
)

// Report is how good a job's networks are on its held-out images.
type Report struct {
	KNN      Accuracies `json:"knn"`      // of k-nearest-neighbour classification by pooled features, see KNN
	Probe    Accuracies `json:"probe"`    // of a linear classifier of pooled features, see Probe
	Accuracy *float64   `json:"accuracy"` // top-1 of the student's logits; nil when they are not the dataset's classes
	Images   int        `json:"images"`   // held out
}

// Accuracies are those of a job's networks; nil: not measured.
type Accuracies struct {
	Teacher   *float64 `json:"teacher"`
	Untrained *float64 `json:"untrained"` // the student before its first step
	Student   *float64 `json:"student"`
}

// Evaluate measures the teacher, the untrained and the trained student of a job on its held-out images. folder holds the
// trained student.
func Evaluate(ctx context.Context, j *setup.Job, folder storage.Bucket, threads int) (*Report, error) {
	test, err := j.OpenTest(ctx)
	if err != nil {
		return nil, err
	}
	if test == nil {
		return &Report{}, nil
	}
	e := evaluation{job: j, test: test, threads: threads}
	r := &Report{Images: test.Count()}
	if len(test.Manifest().Classes) == 0 || len(j.Data.Manifest().Classes) == 0 {
		return r, nil // nothing to compare with
	}
	if j.Spec.Evaluate.Baselines {
		if err := e.baselines(ctx, r); err != nil {
			return nil, err
		}
	}
	network, state, config, _, err := nn.LoadFolder(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("load the student: %w", err)
	}
	trained, err := e.measure(ctx, network, state, config)
	if err != nil {
		return nil, fmt.Errorf("evaluate the student: %w", err)
	}
	r.KNN.Student, r.Probe.Student, r.Accuracy = &trained.knn, &trained.probe, trained.top
	return r, nil
}

// baselines measures what a trained student is compared with.
func (e *evaluation) baselines(ctx context.Context, r *Report) error {
	j := e.job
	if j.Teacher != nil {
		m, err := e.measure(ctx, j.Teacher, j.TeacherState, j.TeacherConfig)
		if err != nil {
			return fmt.Errorf("evaluate the teacher: %w", err)
		}
		r.KNN.Teacher, r.Probe.Teacher = &m.knn, &m.probe
	}
	start, err := j.State(ctx)
	if err != nil {
		return err
	}
	untrained, err := e.measure(ctx, j.Student, start.Model, j.StudentConfig)
	if err != nil {
		return fmt.Errorf("evaluate the untrained student: %w", err)
	}
	r.KNN.Untrained, r.Probe.Untrained = &untrained.knn, &untrained.probe
	return nil
}

type evaluation struct {
	job     *setup.Job
	test    *dataset.Dataset
	threads int
}

// source are a dataset's images, up to a limit; 0: all.
func (e *evaluation) source(d *dataset.Dataset, limit int) Source {
	return Source{Data: d, Limit: limit, SkipBroken: e.job.Spec.Dataset.Broken == job.BrokenSkip, Threads: e.threads}
}

// measured is what one network reaches on the held-out images.
type measured struct {
	knn, probe float64
	top        *float64 // accuracy of the logits; nil unless they stand for the dataset's classes
}

func (e *evaluation) measure(ctx context.Context, n *nn.Network, s *nn.State, c nn.ModelConfig) (m measured, err error) {
	training, err := Extract(ctx, n, s, c, e.source(e.job.Data, e.job.Spec.Evaluate.Bank))
	if err != nil {
		return m, err
	}
	test, err := Extract(ctx, n, s, c, e.source(e.test, 0))
	if err != nil {
		return m, err
	}
	v := e.job.Spec.Evaluate
	if m.knn, err = KNN(training, test, min(v.Neighbors, len(training.Labels)), v.Temperature, e.threads); err != nil {
		return m, err
	}
	if m.probe, err = Probe(training, test, DefaultProbeConfig(), e.threads); err != nil {
		return m, err
	}
	if classes := e.test.Manifest().Classes; len(classes) > 0 && slices.Equal(classes, c.Classes) {
		share := test.Accuracy()
		m.top = &share
	}
	return m, nil
}

// extractBatch is how many images go through a network at once.
const extractBatch = 50

// Source is where images come from, and how.
type Source struct {
	Data       *dataset.Dataset
	Limit      int  // images, spread evenly over the dataset; 0: all
	SkipBroken bool // an image that cannot be decoded is left out; else it is an error
	Threads    int  // batches that are computed at the same time
}

// Extract computes the features of a dataset's images, without augmentation. The result does not depend on threads.
func Extract(ctx context.Context, n *nn.Network, s *nn.State, c nn.ModelConfig, from Source) (Features, error) {
	view, err := setup.Plain(c)
	if err != nil {
		return Features{}, err
	}
	images := feed.EvaluationConfig{
		Data: from.Data, View: view, Batch: extractBatch, Limit: from.Limit, SkipBroken: from.SkipBroken, Workers: from.Threads,
	}
	count := images.Count()
	f := Features{Width: n.Features(), Values: make([]float32, count*n.Features()), Labels: make([]int, count)}
	if c.Outputs > 0 {
		f.Top = make([]int, count)
	}
	frozen, err := n.Freeze(s, nn.FreezeConfig{})
	if err != nil {
		return Features{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan imageBatch)
	used := 0 // images; less than count when broken ones are left out
	group.Go(func() error {
		defer close(batches)
		for b, err := range feed.Evaluation(ctx, images) {
			if err != nil {
				return err
			}
			copy(f.Labels[used:], b.Labels)
			select {
			case batches <- imageBatch{used, b.Count, slices.Clone(b.Images)}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			used += b.Count
		}
		return nil
	})
	for range max(1, from.Threads) {
		group.Go(func() error {
			network, err := frozen.NewInference(nn.InferenceConfig{Batch: extractBatch})
			if err != nil {
				return err
			}
			defer network.Close()
			for b := range batches {
				if err := f.fill(network, b, c.Outputs); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Features{}, err
	}
	return f.first(used), nil
}

// first are the features of the first n images.
func (f Features) first(n int) Features {
	f.Values, f.Labels = f.Values[:n*f.Width], f.Labels[:n]
	if f.Top != nil {
		f.Top = f.Top[:n]
	}
	return f
}

// imageBatch are count images of a dataset from number first; the rest of the batch is zeros.
type imageBatch struct {
	first, count int
	images       []float32
}

// fill computes the features of a batch and puts them where they belong.
func (f *Features) fill(network *nn.Inference, b imageBatch, outputs int) error {
	pooled, logits, err := network.Run(b.images)
	if err != nil {
		return err
	}
	copy(f.Values[b.first*f.Width:], pooled[:b.count*f.Width])
	for i := range b.count {
		if f.Top != nil {
			f.Top[b.first+i] = largest(logits[i*outputs:][:outputs])
		}
	}
	return nil
}

func largest(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}
