package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"pupil/storage"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// HeadFile is the name of a head beside its student.
const HeadFile = "head.safetensors"

// Head is a fully connected classifier: a softmax of logits = features W^T + b. It is fitted on the pooled features of one
// student, and of use with that alone.
type Head struct {
	Classes []string
	Width   int       // of the features
	Weights []float32 // [len(Classes), Width]
	Bias    []float32 // [len(Classes)]
	Student string    // digest of the model that it belongs to; "" is that of the network's own classifier
}

// ErrHead says that a head cannot be used. Test for it with errors.Is.
var ErrHead = errors.New("the head cannot be used")

// Guess is a class and its probability.
type Guess struct {
	Class       string  `json:"class"`
	Probability float64 `json:"probability"`
}

// FitHead fits a head by FitProbe to the features of images with labels, indices of classes. A class without images is
// left out of the head.
func FitHead(m *Model, train Features, classes []string, c ProbeConfig, threads int) (*Head, *LinearProbe, error) {
	p, err := FitProbe(train, c, threads)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Classes) < 2 {
		return nil, nil, fmt.Errorf("all images are of the class %q; a head needs two or more", classes[p.Classes[0]])
	}
	h := &Head{Width: train.Width, Student: m.Digest}
	for i, label := range p.Classes {
		h.Classes = append(h.Classes, classes[label])
		w, b := p.unscaled(i)
		for _, v := range w {
			h.Weights = append(h.Weights, float32(v))
		}
		h.Bias = append(h.Bias, float32(b))
	}
	return h, p, h.check()
}

// unscaled are the weights and the intercept of class i for features that are not standardised.
func (p *LinearProbe) unscaled(i int) (weights []float64, intercept float64) {
	width := len(p.scale.mean)
	weights, intercept = slices.Clone(p.Weights[i*width:][:width]), p.Intercepts[i]
	for j := range weights {
		weights[j] *= p.scale.scale[j]
		intercept -= float64(weights[j] * p.scale.mean[j])
	}
	return weights, intercept
}

// check lists what no head may have.
func (h *Head) check() error {
	k := len(h.Classes)
	if k < 2 || len(h.Bias) != k || h.Width < 1 || len(h.Weights) != k*h.Width {
		return fmt.Errorf("%w: it has %d classes, %d weights of %d features and %d biases", ErrHead, k, len(h.Weights), h.Width,
			len(h.Bias))
	}
	names := slices.Sorted(slices.Values(h.Classes))
	if len(slices.Compact(names)) < k {
		return fmt.Errorf("%w: a class has its name twice", ErrHead)
	}
	for _, v := range slices.Concat(h.Weights, h.Bias) {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("%w: it has the value %v", ErrHead, v)
		}
	}
	return nil
}

// Probabilities are those of the classes for an image's pooled features. Sums are in float64, in the features' order.
func (h *Head) Probabilities(pooled []float32) []float64 {
	logits := make([]float64, len(h.Classes))
	for c := range logits {
		sum := float64(h.Bias[c])
		for j, w := range h.Weights[c*h.Width:][:h.Width] {
			sum += float64(w) * float64(pooled[j])
		}
		logits[c] = sum
	}
	return Softmax(logits)
}

// Softmax turns logits into probabilities, in place.
func Softmax(logits []float64) []float64 {
	top, total := slices.Max(logits), 0.0
	for i, v := range logits {
		logits[i] = math.Exp(v - top)
		total += logits[i]
	}
	for i := range logits {
		logits[i] /= total
	}
	return logits
}

// Top lists the k most probable classes, the smaller index first among equals.
func Top(classes []string, probabilities []float64, k int) []Guess {
	order := make([]int, len(probabilities))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch pa, pb := probabilities[a], probabilities[b]; {
		case pa > pb:
			return -1
		case pa < pb:
			return 1
		}
		return 0
	})
	guesses := make([]Guess, 0, k)
	for _, i := range order[:min(k, len(order))] {
		guesses = append(guesses, Guess{classes[i], probabilities[i]})
	}
	return guesses
}

const (
	headKind     = "pupil head"
	maxHeadBytes = 1 << 30
)

// Save writes the head.
func (h *Head) Save(ctx context.Context, b storage.Bucket, key string) error {
	if err := h.check(); err != nil {
		return err
	}
	names, err := json.Marshal(h.Classes)
	if err != nil {
		return err
	}
	return safetensors.Put(ctx, b, key, &safetensors.File{
		Metadata: map[string]string{"kind": headKind, "student": h.Student, "classes": string(names)},
		Tensors: []safetensors.Tensor{
			safetensors.FromFloat32("weight", []int{len(h.Classes), h.Width}, h.Weights),
			safetensors.FromFloat32("bias", []int{len(h.Classes)}, h.Bias),
		},
	})
}

// LoadHead reads a head and checks that it is one of the model. A missing one gives storage.ErrNotFound.
func LoadHead(ctx context.Context, b storage.Bucket, key string, m *Model) (*Head, error) {
	data, err := storage.ReadAll(ctx, b, key, maxHeadBytes)
	if err != nil {
		return nil, err
	}
	h, err := DecodeHead(data)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", b.URL(), key, err)
	}
	if h.Student != m.Digest || h.Width != m.Network.Features() {
		return nil, fmt.Errorf("%w: %s/%s belongs to another student (SHA-256 %.12s..., this one has %.12s...); "+
			"fit one for this student with worker fit-head", ErrHead, b.URL(), key, h.Student, m.Digest)
	}
	return h, nil
}

// DecodeHead reads a head's file. What is not one is ErrHead.
func DecodeHead(data []byte) (*Head, error) {
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHead, err)
	}
	if f.Metadata["kind"] != headKind {
		return nil, fmt.Errorf("%w: the file is none; worker fit-head makes it", ErrHead)
	}
	h := &Head{Student: f.Metadata["student"]}
	if err := json.Unmarshal([]byte(f.Metadata["classes"]), &h.Classes); err != nil {
		return nil, fmt.Errorf("%w: the names of its classes: %w", ErrHead, err)
	}
	for _, t := range []struct {
		name string
		to   *[]float32
	}{{"weight", &h.Weights}, {"bias", &h.Bias}} {
		tensor, ok := f.Lookup(t.name)
		if !ok {
			return nil, fmt.Errorf("%w: it has no tensor %s", ErrHead, t.name)
		}
		if *t.to, err = tensor.Float32(); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrHead, t.name, err)
		}
		if t.name == "weight" && len(tensor.Shape) == 2 {
			h.Width = tensor.Shape[1]
		}
	}
	return h, h.check()
}

// Classifier gives classes and probabilities for an image's outputs: those of a head, or of the network itself.
type Classifier struct {
	Classes []string
	head    *Head // nil: the network's own
}

// ErrNoClassifier says that a student has neither a head nor names for its own outputs. Test for it with errors.Is.
var ErrNoClassifier = errors.New("the student has no classifier")

// Classifier is the head, or without one the network's own classifier, when its classes have names.
func (m *Model) Classifier(h *Head) (*Classifier, error) {
	switch {
	case h != nil:
		return &Classifier{h.Classes, h}, nil
	case len(m.Config.Classes) > 0 && m.Network.Width(nn.Logits) > 0:
		return &Classifier{m.Config.Classes, nil}, nil
	}
	return nil, fmt.Errorf("%w: there is no %s, and %s names no classes; fit one with worker fit-head", ErrNoClassifier,
		HeadFile, nn.ConfigFile)
}

// Head is the head, nil when the classifier is the network's own.
func (c *Classifier) Head() *Head { return c.head }

// Own says whether the classifier is the network's own.
func (c *Classifier) Own() bool { return c.head == nil }

// Probabilities are those of the classes.
func (c *Classifier) Probabilities(pooled, logits []float32) []float64 {
	if c.head != nil {
		return c.head.Probabilities(pooled)
	}
	z := make([]float64, len(logits))
	for i, v := range logits {
		z[i] = float64(v)
	}
	return Softmax(z)
}
