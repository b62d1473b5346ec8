package measure

import (
	"context"
	"errors"
	"fmt"

	"pupil/augment"
	"pupil/worker/student"
	"pupil/worker/student/images"
)

// Corrupted is what is left when test images are corrupted; the classifier has seen whole ones alone.
type Corrupted struct {
	Kind     string  `json:"kind"`
	Strength int     `json:"strength"` // 1..5; 0: none
	Setting  string  `json:"setting"`
	Probe    float64 `json:"probe"` // top-1 of the linear probe
}

// Corruption is a way to spoil an image, at a strength.
type Corruption struct {
	Kind     string
	Strength int
	Setting  string
	change   func(*augment.Config)
}

// Corruptions lists rotation, occlusion and brightness at five strengths. What is drawn of an image is a function of its
// number.
func Corruptions() []Corruption {
	var list []Corruption
	for i, degrees := range []float64{10, 20, 30, 45, 60} {
		list = append(list, Corruption{"rotation", i + 1, fmt.Sprintf("up to %g degrees", degrees), func(c *augment.Config) {
			c.Rotate = degrees
		}})
	}
	for i, share := range []float64{0.05, 0.1, 0.2, 0.3, 0.4} {
		list = append(list, Corruption{"occlusion", i + 1, fmt.Sprintf("%g%% of the area", 100*share), func(c *augment.Config) {
			c.Occlude = augment.Occlude{Probability: 1, Scale: [2]float64{share, share}, Ratio: [2]float64{0.5, 2}}
		}})
	}
	for i, b := range []float64{0.2, 0.4, 0.6, 0.8, 1} {
		list = append(list, Corruption{"brightness", i + 1, fmt.Sprintf("times %.1f to %.1f", 1-b, 1+b), func(c *augment.Config) {
			c.Brightness = b
		}})
	}
	return list
}

// Spoil is a model that sees images corrupted.
func (c Corruption) Spoil(m *student.Model) (*student.Model, error) {
	config := m.View().Config()
	c.change(&config)
	view, err := augment.New(config)
	if err != nil {
		return nil, err
	}
	return m.With(view)
}

// Robust measures corrupted test images with the probe that Of has fitted, and keeps what it finds in m.
func (m *Measures) Robust(ctx context.Context, model *student.Model, test *images.Set, c student.StreamConfig) error {
	if m.probe == nil {
		return errors.New("robustness: there is no probe")
	}
	m.Robustness = nil
	for _, corruption := range Corruptions() {
		spoilt, err := corruption.Spoil(model)
		if err != nil {
			return err
		}
		f, err := spoilt.Collect(ctx, test, c)
		if err != nil {
			return err
		}
		share, err := m.probe.Accuracy(f, c.Threads)
		if err != nil {
			return err
		}
		m.Robustness = append(m.Robustness, Corrupted{corruption.Kind, corruption.Strength, corruption.Setting, share})
	}
	return nil
}
