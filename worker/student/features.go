package student

import (
	"context"
	"slices"

	"pupil/worker/student/images"
)

// Features are the pooled features of images, in their order.
type Features struct {
	Width  int
	Values []float32 // [len(Labels), Width], row-major
	Labels []int     // -1: the image has none
	Names  []string  // of the images; nil: not known

	Outputs int       // of the network; 0: it has no logits
	Logits  []float32 // [len(Labels), Outputs]

	Broken []error // of images that were left out
}

// Collect computes the features of a set of images. The result does not depend on batch and threads.
func (m *Model) Collect(ctx context.Context, set *images.Set, c StreamConfig) (Features, error) {
	f := Features{Width: m.Network.Features(), Outputs: m.Config.Outputs}
	if n := set.Count; n > 0 {
		f.Values, f.Labels = make([]float32, 0, n*f.Width), make([]int, 0, n)
		f.Logits = make([]float32, 0, n*f.Outputs)
	}
	err := m.Stream(ctx, set, c, func(r Result) error {
		if r.Broken != nil {
			f.Broken = append(f.Broken, r.Broken)
			return nil
		}
		f.Add(r)
		return nil
	})
	return f, err
}

// Add appends an image.
func (f *Features) Add(r Result) {
	f.Values, f.Logits = append(f.Values, r.Pooled...), append(f.Logits, r.Logits...)
	f.Labels, f.Names = append(f.Labels, r.Label), append(f.Names, r.Name)
}

// Row is the features of image i.
func (f Features) Row(i int) []float32 { return f.Values[i*f.Width:][:f.Width] }

// Top is the index of the largest logit of image i, the smaller among equals.
func (f Features) Top(i int) int {
	row := f.Logits[i*f.Outputs:][:f.Outputs]
	return slices.Index(row, slices.Max(row))
}

// Accuracy is the share of images whose largest logit is their label.
func (f Features) Accuracy() float64 {
	right := 0
	for i, label := range f.Labels {
		if f.Outputs > 0 && f.Top(i) == label {
			right++
		}
	}
	return float64(right) / float64(max(1, len(f.Labels)))
}

// Pick is some of the images, in the order of their indices.
func (f Features) Pick(indices []int) Features {
	p := Features{Width: f.Width, Outputs: f.Outputs}
	for _, i := range indices {
		p.Values, p.Labels = append(p.Values, f.Row(i)...), append(p.Labels, f.Labels[i])
		if f.Names != nil {
			p.Names = append(p.Names, f.Names[i])
		}
		if f.Outputs > 0 {
			p.Logits = append(p.Logits, f.Logits[i*f.Outputs:][:f.Outputs]...)
		}
	}
	return p
}
