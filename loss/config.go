package loss

import (
	"errors"
	"fmt"
	"math"
)

// Names of the terms.
const (
	PriorMutualInformation = "prior_mutual_information"
	KL                     = "kl"
	L2                     = "l2"
	Cosine                 = "cosine"
	CrossEntropy           = "cross_entropy"
)

// Orders of channels before they are cut into feature groups.
const (
	OrderContiguous = "contiguous"
	OrderPermuted   = "permuted"
)

// Forms of the joint.
const (
	JointSymmetric = "symmetric"
	JointProduct   = "product"
)

// Forms of the posterior.
const (
	PosteriorConditional = "conditional"
	PosteriorSample      = "sample"
	PosteriorMixture     = "mixture"
)

// Updates of the prior.
const (
	UpdateNatural  = "natural"
	UpdateMaximize = "maximize"
	UpdateMinimize = "minimize"
	UpdateNone     = "none"
)

// Initial distributions of the prior.
const (
	Gaussian = "gaussian"
	Laplace  = "laplace"
)

// Config is one term of a loss. Its fields are those of the job file's term, but that Head stands for its features. A
// zero is a zero, not a default: see [DefaultConfig].
type Config struct {
	Name               string      // PriorMutualInformation, KL, L2, Cosine or CrossEntropy
	Head               int         // the features that it compares: a position in New's heads
	Weight             float64     // of the term in the sum, 0 or more
	Ramp               Ramp        // a factor on Weight that changes during the job
	FeatureGroups      int         // F of prior_mutual_information and kl: parts of equal width with a softmax each
	FeatureOrder       string      // of the channels before they are cut: OrderContiguous or OrderPermuted
	Standardize        bool        // brings the teacher's features to mean 0 and deviation 1 first; not of cross_entropy
	TeacherTemperature float64     // tau_t in softmax(f_T / tau_t), above 0; of prior_mutual_information and kl
	StudentTemperature float64     // tau_s in softmax(f_S / tau_s), above 0; likewise, and of cross_entropy
	LabelSmoothing     float64     // of cross_entropy: share of the target spread over all classes, in [0, 1]
	Joint              string      // of prior_mutual_information: JointSymmetric or JointProduct
	Posterior          string      // of prior_mutual_information: conditional, sample or mixture
	Prior              PriorConfig // of prior_mutual_information
	Start              Start       // of prior_mutual_information
}

// Ramp is a factor on a term's weight: From until the share Begin of all steps, To after the share End, linear between.
type Ramp struct{ From, To, Begin, End float64 }

// at is the factor at a share of all steps.
func (r Ramp) at(progress float64) float64 {
	switch {
	case progress <= r.Begin:
		return r.From
	case progress >= r.End:
		return r.To
	}
	return r.From + float64((r.To-r.From)*float64((progress-r.Begin)/(r.End-r.Begin)))
}

// PriorConfig is the student's prior p(s) = softmax(sum_g w_g (m_g + d_g a_g)) and how it moves.
type PriorConfig struct {
	Distribution string    // of a: Gaussian, N(0, 1), or Laplace, with mean 0 and scale 1
	Groups       int       // G, 1 or more
	Weights      []float64 // w_g, a value a group, not all 0; empty: all 1
	Mean         []float64 // initial m of every group by channel, and with UpdateNatural an offset that stays; empty: 0
	Deviation    float64   // initial d
	Update       string    // UpdateNatural, UpdateMaximize, UpdateMinimize or UpdateNone
	Rate         float64   // natural: eta, in (0, 2); maximize, minimize: the learning rate of m and d, above 0
	Bound        float64   // minimize: |z| is kept within it, in nats, above 0
}

// Start is a term Weight * KL * fall * KL(t || s) beside the mutual information, which keeps the classes apart while
// the mutual information is small. fall goes linearly from 1 to 0 over the first Share of all steps.
type Start struct {
	KL    float64 // weight at the first step, relative to the term's own; 0: no such term
	Share float64 // of all steps in which the weight falls to 0
	Hold  bool    // fall stays 1
}

// DefaultConfig returns a term's defaults: weight and temperatures 1 for the whole job, head 0 as it is, in one group,
// product joint, conditional posterior, one
// Gaussian group with m = 0 and d = 0.1, natural update with eta = 1, and a KL start of weight 1 over 0.3 of all steps.
func DefaultConfig(name string) Config {
	return Config{
		Name: name, Weight: 1, Ramp: Ramp{From: 1, To: 1, End: 1},
		FeatureGroups: 1, FeatureOrder: OrderContiguous, TeacherTemperature: 1, StudentTemperature: 1,
		Joint: JointProduct, Posterior: PosteriorConditional,
		Prior: PriorConfig{
			Distribution: Gaussian, Groups: 1, Deviation: 0.1,
			Update: UpdateNatural, Rate: 1, Bound: 4,
		},
		Start: Start{KL: 1, Share: 0.3},
	}
}

// Validate returns every fault of the term in one error. Fields that the term does not use are not looked at.
func (c Config) Validate() error {
	f := &faults{}
	f.between("weight", c.Weight, 0, math.MaxFloat64)
	c.Ramp.check(f)
	switch c.Name {
	case PriorMutualInformation:
		c.checkDistributions(f)
		f.oneOf("joint", c.Joint, JointSymmetric, JointProduct)
		f.oneOf("posterior", c.Posterior, PosteriorConditional, PosteriorSample, PosteriorMixture)
		c.Prior.check(f)
		f.between("start.kl", c.Start.KL, 0, math.MaxFloat64)
		f.between("start.share", c.Start.Share, 0, math.MaxFloat64)
	case KL:
		c.checkDistributions(f)
	case L2, Cosine:
	case CrossEntropy:
		f.positive("student_temperature", c.StudentTemperature)
		f.between("label_smoothing", c.LabelSmoothing, 0, 1)
	default:
		f.oneOf("name", c.Name, PriorMutualInformation, KL, L2, Cosine, CrossEntropy)
	}
	return errors.Join(*f...)
}

// checkDistributions looks at what makes distributions of features.
func (c Config) checkDistributions(f *faults) {
	f.positive("teacher_temperature", c.TeacherTemperature)
	f.positive("student_temperature", c.StudentTemperature)
	f.oneOf("feature_order", c.FeatureOrder, OrderContiguous, OrderPermuted)
	if c.FeatureGroups < 1 {
		f.add("feature_groups is %d: give 1 or more", c.FeatureGroups)
	}
}

func (r Ramp) check(f *faults) {
	f.between("ramp.from", r.From, 0, math.MaxFloat64)
	f.between("ramp.to", r.To, 0, math.MaxFloat64)
	f.between("ramp.begin", r.Begin, 0, math.MaxFloat64)
	if !(r.End > r.Begin && r.End <= math.MaxFloat64) {
		f.add("ramp.end is %g: give a share of all steps after ramp.begin, %g", r.End, r.Begin)
	}
}

// The size of a group's weight, which is squared where the prior moves.
const leastWeight, mostWeight = 1e-6, 1e6

// Validate returns every fault of the prior's configuration in one error.
func (c PriorConfig) Validate() error {
	f := &faults{}
	c.check(f)
	return errors.Join(*f...)
}

func (c PriorConfig) check(f *faults) {
	f.oneOf("prior.distribution", c.Distribution, Gaussian, Laplace)
	if c.Groups < 1 {
		f.add("prior.groups is %d: give 1 or more", c.Groups)
	}
	f.finite("prior.weights", c.Weights)
	f.finite("prior.mean", c.Mean)
	f.finite("prior.deviation", []float64{c.Deviation})
	if len(c.Weights) > 0 {
		if len(c.Weights) != c.Groups {
			f.add("prior.weights has %d values for %d groups: give one for each group", len(c.Weights), c.Groups)
		}
		for i, w := range c.Weights {
			if a := math.Abs(w); a != 0 && !(a >= leastWeight && a <= mostWeight) {
				f.add("prior.weights holds %g at position %d: give 0, or a number of a size from %g to %g", w, i, leastWeight, mostWeight)
			}
		}
		if allZero(c.Weights) {
			f.add("prior.weights are all 0, so nothing could move the prior: give at least one other value")
		}
	}
	f.oneOf("prior.update", c.Update, UpdateNatural, UpdateMaximize, UpdateMinimize, UpdateNone)
	if c.Update != UpdateNone {
		f.positive("prior.rate", c.Rate)
	}
	if c.Update == UpdateNatural && c.Rate >= 2 {
		f.add("prior.rate is %g: a natural step of 2 or more never settles, give less than 2 (1 follows at once)", c.Rate)
	}
	if c.Update == UpdateMinimize {
		f.positive("prior.bound", c.Bound)
	}
}

// fall is the factor on the start's weight at a share of all steps.
func (s Start) fall(progress float64) float64 {
	switch {
	case s.Hold:
		return 1
	case progress >= s.Share:
		return 0
	default:
		return 1 - progress/s.Share
	}
}

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f *faults) positive(field string, v float64) {
	if !(v > 0 && v <= math.MaxFloat64) {
		f.add("%s is %g: give a number above 0", field, v)
	}
}

func (f *faults) between(field string, v, low, high float64) {
	if v >= low && v <= high {
		return
	}
	if high == math.MaxFloat64 {
		f.add("%s is %g: give a number of %g or more", field, v, low)
		return
	}
	f.add("%s is %g: give a number in [%g, %g]", field, v, low, high)
}

func (f *faults) finite(field string, values []float64) {
	for i, v := range values {
		if !finite(v) {
			f.add("%s holds %g at position %d: give finite numbers", field, v, i)
			return
		}
	}
}

func (f *faults) oneOf(field, v string, known ...string) {
	for _, k := range known {
		if v == k {
			return
		}
	}
	f.add("%s is %q: give one of %q", field, v, known)
}

func allZero(values []float64) bool {
	for _, v := range values {
		if v != 0 {
			return false
		}
	}
	return true
}

func finite(v float64) bool { return v >= -math.MaxFloat64 && v <= math.MaxFloat64 }
