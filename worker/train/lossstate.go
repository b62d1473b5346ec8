package train

import (
	"fmt"

	"pupil/loss"
	"pupil/storage/safetensors"
)

// ExportPrior is prior.safetensors: m, d and a, [feature groups, groups, classes], and w, [groups]; nil when the loss
// has no prior.
func (s *State) ExportPrior() *safetensors.File {
	priors := s.Loss.Priors
	if len(priors) == 0 {
		return nil
	}
	first := priors[0]
	var m, d, a []float64
	for _, p := range priors {
		m, d, a = append(m, p.M...), append(d, p.D...), append(a, p.A...)
	}
	shape := []int{len(priors), first.Groups, first.Classes}
	return &safetensors.File{Tensors: []safetensors.Tensor{
		safetensors.FromFloat64("m", shape, m),
		safetensors.FromFloat64("d", shape, d),
		safetensors.FromFloat64("a", shape, a),
		safetensors.FromFloat64("w", []int{first.Groups}, first.W),
	}}
}

// importPriors is the inverse of ExportPrior, for priors of the same shape.
func importPriors(priors []*loss.Prior, f *safetensors.File) error {
	for _, x := range []struct {
		name string
		of   func(p *loss.Prior) []float64
	}{
		{"m", func(p *loss.Prior) []float64 { return p.M }},
		{"d", func(p *loss.Prior) []float64 { return p.D }},
		{"a", func(p *loss.Prior) []float64 { return p.A }},
	} {
		var to [][]float64
		for _, p := range priors {
			to = append(to, x.of(p))
		}
		if err := copyFloat64(to, f, x.name); err != nil {
			return err
		}
	}
	return copyFloat64([][]float64{priors[0].W}, f, "w")
}

// exportFeatureMoments has, for each standardised head, the number of steps, mean and mean square of the teacher's channels;
// nil when no term standardises.
func exportFeatureMoments(s *loss.State) *safetensors.File {
	var f *safetensors.File
	for head, m := range s.Moments {
		if m == nil {
			continue
		}
		if f == nil {
			f = &safetensors.File{}
		}
		shape := []int{len(m.Mean)}
		f.Tensors = append(
			f.Tensors,
			safetensors.FromFloat64(momentsName(head, "steps"), []int{1}, []float64{float64(m.Steps)}),
			safetensors.FromFloat64(momentsName(head, "mean"), shape, m.Mean),
			safetensors.FromFloat64(momentsName(head, "square"), shape, m.Square),
		)
	}
	return f
}

func importFeatureMoments(s *loss.State, f *safetensors.File) error {
	for head, m := range s.Moments {
		if m == nil {
			continue
		}
		steps := make([]float64, 1)
		for _, x := range []struct {
			name string
			to   []float64
		}{{"steps", steps}, {"mean", m.Mean}, {"square", m.Square}} {
			if err := copyFloat64([][]float64{x.to}, f, momentsName(head, x.name)); err != nil {
				return err
			}
		}
		m.Steps = int(steps[0])
	}
	return nil
}

func momentsName(head int, what string) string { return fmt.Sprintf("head.%d.%s", head, what) }

// copyFloat64 reads a tensor into slices, one after the other.
func copyFloat64(to [][]float64, f *safetensors.File, name string) error {
	t, ok := f.Lookup(name)
	if !ok {
		return fmt.Errorf("tensor %q is missing", name)
	}
	v, err := t.Float64()
	if err != nil {
		return err
	}
	size := 0
	for _, part := range to {
		size += len(part)
	}
	if len(v) != size {
		return fmt.Errorf("tensor %q has shape %v; the job needs %d elements", name, t.Shape, size)
	}
	for _, part := range to {
		v = v[copy(part, v):]
	}
	return nil
}
