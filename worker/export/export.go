package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// Config says what is written beside the network's features.
type Config struct {
	Model   nn.ModelConfig
	Student string // digest of the model's folder
	Version string // of this program
	Fold    bool   // batch norms become part of the convolutions
	Own     bool   // with the network's own classifier
	Head    *Head  // with this classifier
}

// Head is a fully connected classifier of the pooled features.
type Head struct {
	Classes []string
	Weights []float32 // [len(Classes), features]
	Bias    []float32 // [len(Classes)]
}

func (c *Config) validate(n *nn.Network) error {
	switch {
	case c.Own && c.Head != nil:
		return errors.New("export: one classifier, the network's own or a head")
	case c.Own && n.Width(nn.Logits) == 0:
		return errors.New("export: the network has no classifier of its own")
	case c.Head != nil && (len(c.Head.Bias) != len(c.Head.Classes) || len(c.Head.Weights) != len(c.Head.Classes)*n.Features()):
		return fmt.Errorf("export: a head of %d classes with %d weights and %d biases for %d features", len(c.Head.Classes),
			len(c.Head.Weights), len(c.Head.Bias), n.Features())
	}
	return nil
}

// outputs are what the steps must lead to.
func (c *Config) outputs() []nn.Output {
	if c.Own {
		return []nn.Output{nn.Pooled, nn.Logits}
	}
	return []nn.Output{nn.Pooled}
}

// metadata are what a program must know to prepare images and to read the outputs.
func (c *Config) metadata() map[string]string {
	m := map[string]string{
		"pupil.student": c.Student, "pupil.architecture": c.Model.Architecture,
		"pupil.width":     strconv.FormatFloat(c.Model.Width, 'g', -1, 64),
		"image.size":      strconv.Itoa(c.Model.Size),
		"image.channels":  strconv.Itoa(c.Model.Channels),
		"image.layout":    "NCHW",
		"image.colours":   "RGB",
		"image.range":     "0..1",
		"image.fit":       "the largest centred square, resized to size with a bilinear filter that antialiases",
		"image.normalize": "(x - mean) / std",
	}
	if c.Model.Channels == 1 {
		m["image.colours"] = "grey"
	}
	if c.Model.Resize > 0 {
		m["image.fit"] = "the shorter side resized to resize with a bilinear filter that antialiases, then the centred square of size"
		m["image.resize"] = strconv.Itoa(c.Model.Resize)
	}
	mean, std := make([]float64, c.Model.Channels), make([]float64, c.Model.Channels)
	for i := range std {
		std[i] = 1
	}
	if z := c.Model.Normalize; z != nil {
		mean, std = z.Mean, z.Std
	}
	m["image.mean"], m["image.std"] = asJSON(mean), asJSON(std)
	if classes := c.classes(); len(classes) > 0 {
		m["classes"] = asJSON(classes)
	}
	if p := c.Model.Provenance; p != nil {
		m["pupil.provenance"] = asJSON(p)
	}
	return m
}

func (c *Config) classes() []string {
	switch {
	case c.Head != nil:
		return c.Head.Classes
	case c.Own:
		return c.Model.Classes
	}
	return nil
}

// asJSON is the JSON of what has it.
func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// weights are a network's tensors by name, in torchvision's layout.
type weights struct{ file *safetensors.File }

func (w weights) values(name string) (shape []int, values []float32, err error) {
	t, ok := w.file.Lookup(name)
	if !ok {
		return nil, nil, fmt.Errorf("export: there is no tensor %s", name)
	}
	values, err = t.Float32()
	return t.Shape, values, err
}

// folded are a convolution's weights and shifts with its batch norm in them: W scale / sqrt(variance + epsilon) and shift -
// mean scale / sqrt(variance + epsilon), in float64 and rounded once.
func (w weights) folded(s nn.Step) (shape []int, filters, shifts []float32, err error) {
	shape, filters, err = w.values(s.Weight)
	var norm [4][]float32
	for i, name := range []string{s.Scale, s.Shift, s.Mean, s.Variance} {
		if err == nil {
			_, norm[i], err = w.values(name)
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	shifts = make([]float32, shape[0])
	each := len(filters) / shape[0]
	for k := range shifts {
		factor := float64(norm[0][k]) / math.Sqrt(float64(norm[3][k])+float64(s.Epsilon))
		shifts[k] = float32(float64(norm[1][k]) - float64(float64(norm[2][k])*factor))
		for i := range filters[k*each:][:each] {
			filters[k*each+i] = float32(float64(filters[k*each+i]) * factor)
		}
	}
	return shape, filters, shifts, nil
}
