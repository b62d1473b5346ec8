package student

import (
	"fmt"

	"pupil/augment"
	"pupil/worker/nn"
)

// MaxBatch bounds how many images are computed at once.
const MaxBatch = 1024

// shrink is the ratio of the sizes of batches that a Runner has graphs for.
const shrink = 4

// Runner computes a model's outputs for batches of up to a number of images. It has a graph for that number, and
// smaller ones for what is left, so that few images cost little; they are made when they are first needed. An image's
// outputs have the same bits in every batch. It is not safe for concurrent use.
type Runner struct {
	model  *Model
	frozen *nn.Frozen
	sizes  []int // descending, to 1
	graphs []*nn.Inference
}

// Outputs are what a network computes of some images, row-major; nil: it does not have it.
type Outputs struct {
	Pooled     []float32 // [n, Features]
	Logits     []float32 // [n, Outputs]
	Projection []float32 // [n, Projection]
}

// NewRunner makes a Runner for batches of up to batch images.
func (m *Model) NewRunner(batch int) (*Runner, error) {
	if batch < 1 || batch > MaxBatch {
		return nil, fmt.Errorf("the batch is %d; it must be in 1..%d", batch, MaxBatch)
	}
	frozen, err := m.frozen()
	if err != nil {
		return nil, err
	}
	r := &Runner{model: m, frozen: frozen}
	for n := batch; n > 1; n = (n + shrink - 1) / shrink {
		r.sizes = append(r.sizes, n)
	}
	r.sizes = append(r.sizes, 1)
	r.graphs = make([]*nn.Inference, len(r.sizes))
	return r, nil
}

// Warm makes all graphs now.
func (r *Runner) Warm() error {
	for i := range r.sizes {
		if _, err := r.graph(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) graph(i int) (*nn.Inference, error) {
	if r.graphs[i] == nil {
		g, err := r.frozen.NewInference(nn.InferenceConfig{Batch: r.sizes[i]})
		if err != nil {
			return nil, err
		}
		r.graphs[i] = g
	}
	return r.graphs[i], nil
}

// Run computes the outputs of images [n, size, size, channels], n at most the batch. They are copies.
func (r *Runner) Run(images []float32) (Outputs, error) {
	var out Outputs
	each := r.model.view.Len()
	for i := 0; len(images) > 0; {
		n := r.sizes[i]
		if len(images) < n*each {
			i++
			continue
		}
		g, err := r.graph(i)
		if err != nil {
			return Outputs{}, err
		}
		pooled, logits, err := g.Run(images[:n*each])
		if err != nil {
			return Outputs{}, err
		}
		out.Pooled = append(out.Pooled, pooled...)
		out.Logits = append(out.Logits, logits...)
		out.Projection = append(out.Projection, g.Output(nn.Projection)...)
		images = images[n*each:]
	}
	return out, nil
}

// Close releases the graphs. No Run may follow.
func (r *Runner) Close() {
	for _, g := range r.graphs {
		if g != nil {
			g.Close()
		}
	}
	r.graphs = nil
}

// Decode turns an encoded image into what the network takes, and writes it to to [size, size, channels]. key is what
// random operations of the view depend on.
func (m *Model) Decode(to []float32, data []byte, key augment.Key) error {
	img, err := augment.DecodeOver(data, m.view.Config().Channels, m.view.Background())
	if err != nil {
		return err
	}
	m.view.Apply(to, img, key)
	return nil
}
