package student

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"
)

// ProbeConfig says how a linear probe is fitted.
type ProbeConfig struct {
	// C is the inverse strength of the L2 penalty, with scikit-learn's meaning: the sum of the losses + |W|^2 / (2 C) is
	// minimised, and the intercepts are not penalised.
	C float64
	// Tolerance ends the fit: the largest entry of the gradient of the mean loss and its penalty, in nat.
	Tolerance float64
	// Iterations of L-BFGS at most.
	Iterations int
	// Balanced weights an image by n / (K n_c), for n images of K classes, n_c of its own: rare classes count as much as
	// frequent ones (scikit-learn's class_weight="balanced").
	Balanced bool
}

// DefaultProbeConfig is what reports use: scikit-learn's C and tolerance, and as many iterations as these need.
func DefaultProbeConfig() ProbeConfig { return ProbeConfig{C: 1, Tolerance: 1e-4, Iterations: 1000} }

// Validate says what is wrong with a configuration.
func (c ProbeConfig) Validate() error {
	var faults []error
	if !(c.C > 0) || math.IsInf(c.C, 0) {
		faults = append(faults, fmt.Errorf("linear probe: C is %v; it must be above 0", c.C))
	}
	if !(c.Tolerance > 0) {
		faults = append(faults, fmt.Errorf("linear probe: the tolerance is %v; it must be above 0", c.Tolerance))
	}
	if c.Iterations < 1 {
		faults = append(faults, fmt.Errorf("linear probe: %d iterations; there must be at least 1", c.Iterations))
	}
	return errors.Join(faults...)
}

// LinearProbe is multinomial logistic regression on frozen features, the usual measure of how well a linear classifier
// tells classes apart by them. Features are standardised by the mean and deviation of the training images.
type LinearProbe struct {
	Classes    []int     // the labels that the training images have, ascending
	Weights    []float64 // [len(Classes), width], of the standardised features
	Intercepts []float64 // [len(Classes)]
	Loss       float64   // mean cross-entropy of the training images with the penalty, in nat
	Iterations int
	Converged  bool // the gradient is within the tolerance

	scale standard
}

// FitProbe fits a linear probe, by L-BFGS from zeros. The parameters, their sums over images and the optimiser are
// float64; the products with features are the kernels' float32. The result does not depend on threads.
func FitProbe(train Features, c ProbeConfig, threads int) (*LinearProbe, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := train.check(); err != nil {
		return nil, fmt.Errorf("linear probe: training images: %w", err)
	}
	p := &LinearProbe{Classes: slices.Compact(slices.Sorted(slices.Values(train.Labels)))}
	var err error
	if p.scale, err = standardOf(train); err != nil {
		return nil, fmt.Errorf("linear probe: training images: %w", err)
	}
	o := newObjective(train, p, c, threads)
	result, err := optimize.Minimize(optimize.Problem{Func: o.value, Grad: o.slope}, make([]float64, o.parameters()),
		&optimize.Settings{Converger: flat{o, c.Tolerance}, MajorIterations: c.Iterations},
		&optimize.LBFGS{Linesearcher: &slopeSearch{}})
	if result == nil {
		return nil, fmt.Errorf("linear probe: %w", err)
	}
	// A search that ends because float32 products cannot resolve a smaller step leaves the best point so far.
	at := o.evaluate(result.X)
	p.Loss, p.Iterations, p.Converged = at.loss, result.MajorIterations, at.steepest() <= c.Tolerance
	if math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0) {
		return nil, fmt.Errorf("linear probe: the loss is %v after %d iterations", p.Loss, p.Iterations)
	}
	weights := len(p.Classes) * train.Width
	p.Weights, p.Intercepts = slices.Clone(at.x[:weights]), slices.Clone(at.x[weights:])
	return p, nil
}

// flat ends a fit when the gradient is within the tolerance.
type flat struct {
	objective *objective
	tolerance float64
}

// Init begins a fit.
func (flat) Init(int) {}

// Converged judges an iteration.
func (f flat) Converged(at *optimize.Location) optimize.Status {
	if f.objective.evaluate(at.X).steepest() <= f.tolerance {
		return optimize.GradientThreshold
	}
	return optimize.NotTerminated
}

// Accuracy is the share of images whose largest logit is their label. Equal logits go to the smaller label; a label
// that no training image has is never met.
func (p *LinearProbe) Accuracy(test Features, threads int) (float64, error) {
	if test.Width != len(p.scale.mean) {
		return 0, fmt.Errorf("linear probe: features of width %d and %d", len(p.scale.mean), test.Width)
	}
	if err := test.check(); err != nil {
		return 0, fmt.Errorf("linear probe: test images: %w", err)
	}
	return p.accuracy(test, threads), nil
}

// Probe is the accuracy on the test images of a linear probe that is fitted to the training images.
func Probe(train, test Features, c ProbeConfig, threads int) (float64, error) {
	p, err := FitProbe(train, c, threads)
	if err != nil {
		return 0, err
	}
	return p.Accuracy(test, threads)
}

// check refuses features without images or labels.
func (f Features) check() error {
	if len(f.Labels) == 0 || f.Width < 1 {
		return errors.New("there are none")
	}
	for i, l := range f.Labels {
		if l < 0 {
			return fmt.Errorf("image %d has no label", i)
		}
	}
	return nil
}
