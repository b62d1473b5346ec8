package job

import "slices"

// Spec is a whole job. Types, units, defaults and bounds of every key are in [Fields], and from there in docs/job.md;
// the comments here say what a reader of the code needs. The yaml names are the user's names.
//
// A Spec that [Decode] returned has every default filled in. Its JSON is itself a job file.
type Spec struct {
	Name       string     `yaml:"name" json:"name"`             // names the run's folder; no part of the digest
	Seed       uint64     `yaml:"seed" json:"seed"`             // of all randomness
	Dataset    Dataset    `yaml:"dataset" json:"dataset"`       //
	Teacher    *Teacher   `yaml:"teacher" json:"teacher"`       // nil: supervised training on labels
	Student    Student    `yaml:"student" json:"student"`       //
	Views      Views      `yaml:"views" json:"views"`           //
	Batch      int        `yaml:"batch" json:"batch"`           // images a step, over all lanes
	Lanes      int        `yaml:"lanes" json:"lanes"`           // divides Batch
	Wire       string     `yaml:"wire" json:"wire"`             // WireInt32 or WireInt16: of the gradients' sums
	Bucket     int        `yaml:"bucket" json:"bucket"`         // bytes of gradients that go together; 0: by their number
	Steps      int        `yaml:"steps" json:"steps"`           // optimiser steps; 0: Epochs says how long
	Epochs     float64    `yaml:"epochs" json:"epochs"`         // passes over the dataset; 0: Steps says how long
	Loss       []Term     `yaml:"loss" json:"loss"`             // summed by weight; never empty
	Optimizer  Optimizer  `yaml:"optimizer" json:"optimizer"`   //
	Schedule   Schedule   `yaml:"schedule" json:"schedule"`     // of the learning rate
	Average    Average    `yaml:"average" json:"average"`       // of the weights over the steps
	Collapse   Collapse   `yaml:"collapse" json:"collapse"`     // when to stop a job whose student merges the classes
	Health     Health     `yaml:"health" json:"health"`         // what is measured beside the loss
	Checkpoint Checkpoint `yaml:"checkpoint" json:"checkpoint"` //
	Evaluate   Evaluate   `yaml:"evaluate" json:"evaluate"`     // what is measured at the end
}

// Dataset says where the packed images are. Load makes URLs of paths.
type Dataset struct {
	Train  string `yaml:"train" json:"train"`   //
	Test   string `yaml:"test" json:"test"`     // held-out images; "" skips the evaluation
	Broken string `yaml:"broken" json:"broken"` // BrokenFail or BrokenSkip: what an image that cannot be decoded does
	Chunk  int    `yaml:"chunk" json:"chunk"`   // consecutive images of a shard that stay together in an epoch's order
}

// Teacher is a trained network: a folder with model.safetensors and config.json.
type Teacher struct {
	Model    string `yaml:"model" json:"model"`       // URL; Load makes one of a path
	Winograd bool   `yaml:"winograd" json:"winograd"` // the faster algorithm of its 3 x 3 convolutions
}

// Student is the network to train.
type Student struct {
	Architecture string  `yaml:"architecture" json:"architecture"` // one of Architectures
	Width        float64 `yaml:"width" json:"width"`               // width multiplier
	Outputs      int     `yaml:"outputs" json:"outputs"`           // of the logits; 0: the teacher's or the dataset's
	Projection   bool    `yaml:"projection" json:"projection"`     // a linear layer between pooled features and the loss
	Size         int     `yaml:"size" json:"size"`                 // input height and width in pixels
	Channels     int     `yaml:"channels" json:"channels"`         // 1 or 3
	Init         string  `yaml:"init" json:"init"`                 // URL of a folder with model.safetensors; "": random
}

// Views are the two augmentations of one image. Without a teacher only the student's is used, whatever the policy.
// Student already has what [Decode] derived by Strength, which only says where the numbers came from.
type Views struct {
	Teacher  View    `yaml:"teacher" json:"teacher"`
	Student  View    `yaml:"student" json:"student"`
	Strength float64 `yaml:"strength" json:"strength"` // that Student was derived with; 0: it was not
	Policy   string  `yaml:"policy" json:"policy"`     // PolicyIndependent, PolicyNested or PolicySame
}

// View is one augmentation. Its operations run in the order of the fields, but that images are normalised before a
// part is occluded. Parameters have torchvision's meanings.
type View struct {
	Crop       Crop       `yaml:"crop" json:"crop"`             // RandomResizedCrop: crop, then change of size
	Flip       float64    `yaml:"flip" json:"flip"`             // probability of a horizontal flip
	Rotate     float64    `yaml:"rotate" json:"rotate"`         // degrees: the angle is uniform in [-Rotate, Rotate]
	Brightness float64    `yaml:"brightness" json:"brightness"` // b: the factor is uniform in [max(0, 1-b), 1+b]
	Occlude    Occlude    `yaml:"occlude" json:"occlude"`       // RandomErasing
	Normalize  *Normalize `yaml:"normalize" json:"normalize"`   // nil: the teacher's, else the dataset's
}

// Crop is a random part of the image, resized to the network's input. Scale and Ratio [1, 1] take the largest centred
// square.
type Crop struct {
	Scale [2]float64 `yaml:"scale" json:"scale"` // share of the area, lowest and highest
	Ratio [2]float64 `yaml:"ratio" json:"ratio"` // width / height, lowest and highest
}

// Occlude replaces a random rectangle by a value.
type Occlude struct {
	Probability float64    `yaml:"probability" json:"probability"` //
	Scale       [2]float64 `yaml:"scale" json:"scale"`             // share of the area, lowest and highest
	Ratio       [2]float64 `yaml:"ratio" json:"ratio"`             // height / width, lowest and highest
	Value       float64    `yaml:"value" json:"value"`             // after normalisation, so 0 is the mean colour
}

// Normalize is (x - mean) / std for x in [0, 1], with a value for each channel.
type Normalize struct {
	Mean []float64 `yaml:"mean" json:"mean"`
	Std  []float64 `yaml:"std" json:"std"`
}

// Term is one term of the loss. Keys that a term of its name does not use keep their defaults.
type Term struct {
	Name               string  `yaml:"name" json:"name"`                               // one of the Term names
	Features           string  `yaml:"features" json:"features"`                       // FeaturesLogits or FeaturesPooled
	Weight             float64 `yaml:"weight" json:"weight"`                           //
	Ramp               Ramp    `yaml:"ramp" json:"ramp"`                               // a factor on Weight
	FeatureGroups      int     `yaml:"feature_groups" json:"feature_groups"`           // with a softmax each; 0: as the features suggest
	FeatureOrder       string  `yaml:"feature_order" json:"feature_order"`             // before they are cut in groups
	Standardize        bool    `yaml:"standardize" json:"standardize"`                 // the teacher's, by channel
	TeacherTemperature float64 `yaml:"teacher_temperature" json:"teacher_temperature"` // T in softmax(f / T)
	StudentTemperature float64 `yaml:"student_temperature" json:"student_temperature"` // T in softmax(f / T)
	LabelSmoothing     float64 `yaml:"label_smoothing" json:"label_smoothing"`         // cross_entropy
	Joint              string  `yaml:"joint" json:"joint"`                             // mutual information: product, ...
	Posterior          string  `yaml:"posterior" json:"posterior"`                     // likewise: conditional, ...
	Prior              Prior   `yaml:"prior" json:"prior"`                             // likewise
	Start              Start   `yaml:"start" json:"start"`                             // likewise
}

// Ramp is a factor on a term's weight over the shares of all steps: From until Begin, To after End, linear between.
type Ramp struct {
	From  float64 `yaml:"from" json:"from"`
	To    float64 `yaml:"to" json:"to"`
	Begin float64 `yaml:"begin" json:"begin"`
	End   float64 `yaml:"end" json:"end"`
}

// Prior is the student's learnable prior: softmax(sum_g w_g (m_g + d_g a_g)), groups g.
type Prior struct {
	Distribution string    `yaml:"distribution" json:"distribution"` // of a, which is drawn once: gaussian, laplace
	Groups       int       `yaml:"groups" json:"groups"`             // G
	Weights      []float64 `yaml:"weights" json:"weights"`           // w_g, a value for each group; empty: all 1
	Mean         []float64 `yaml:"mean" json:"mean"`                 // initial m, a value for each class; empty: all 0
	Deviation    float64   `yaml:"deviation" json:"deviation"`       // initial d
	Update       string    `yaml:"update" json:"update"`             // natural, maximize, minimize, none
	Rate         float64   `yaml:"rate" json:"rate"`                 // natural: eta; maximize, minimize: learning rate
	Bound        float64   `yaml:"bound" json:"bound"`               // minimize: |z| is kept within it, in nats
}

// Start keeps the classes apart while the mutual information is still small: a term KL(teacher || student) whose weight
// falls linearly from KL to 0 over the first Share of all steps.
type Start struct {
	KL    float64 `yaml:"kl" json:"kl"`       // weight at step 0, relative to the term's own; 0 starts cold
	Share float64 `yaml:"share" json:"share"` // of all steps, in (0, 1]
	Hold  bool    `yaml:"hold" json:"hold"`   // the weight does not fall; Share is then not used
}

// Optimizer updates the weights.
type Optimizer struct {
	Name             string     `yaml:"name" json:"name"`                           // adamw, lars, sgd
	LearningRate     float64    `yaml:"learning_rate" json:"learning_rate"`         // at its peak
	WeightDecay      float64    `yaml:"weight_decay" json:"weight_decay"`           // not on biases and norms
	ClipNorm         float64    `yaml:"clip_norm" json:"clip_norm"`                 // of the whole gradient; 0: no bound
	Momentum         float64    `yaml:"momentum" json:"momentum"`                   // sgd, lars
	Nesterov         bool       `yaml:"nesterov" json:"nesterov"`                   // sgd, lars
	TrustCoefficient float64    `yaml:"trust_coefficient" json:"trust_coefficient"` // lars
	Betas            [2]float64 `yaml:"betas" json:"betas"`                         // adamw
	Epsilon          float64    `yaml:"epsilon" json:"epsilon"`                     // adamw
}

// Schedule is the factor on the learning rate.
type Schedule struct {
	Name           string    `yaml:"name" json:"name"`                         // one of the Schedule names
	Warmup         float64   `yaml:"warmup" json:"warmup"`                     // share of all steps with a rising rate
	Final          float64   `yaml:"final" json:"final"`                       // cosine: share of the peak at the end
	Milestones     []float64 `yaml:"milestones" json:"milestones"`             // step: shares of all steps
	Gamma          float64   `yaml:"gamma" json:"gamma"`                       // step: factor at each milestone
	PctStart       float64   `yaml:"pct_start" json:"pct_start"`               // one_cycle: share with a rising rate
	DivFactor      float64   `yaml:"div_factor" json:"div_factor"`             // one_cycle: begins at peak / div_factor
	FinalDivFactor float64   `yaml:"final_div_factor" json:"final_div_factor"` // one_cycle: ends at that / this
}

// Average is an exponential moving average of the weights and running statistics, which the finished student has.
type Average struct {
	Decay  float64 `yaml:"decay" json:"decay"`   // what it keeps in a step; 0: no average
	Warmup bool    `yaml:"warmup" json:"warmup"` // keep less in the first steps
}

// Collapse stops a job whose student merges the classes, before a night of training is wasted. A bound of 0 is off.
type Collapse struct {
	UsedClasses   float64 `yaml:"used_classes" json:"used_classes"`     // least share of those that the teacher uses
	Information   float64 `yaml:"information" json:"information"`       // least I / log C, in [0, 1)
	EffectiveRank float64 `yaml:"effective_rank" json:"effective_rank"` // least, of the student's features
	Patience      int     `yaml:"patience" json:"patience"`             // steps in a row
}

// Health says what is measured beside the loss.
type Health struct {
	RankEvery int `yaml:"rank_every" json:"rank_every"` // steps from one effective rank to the next; 0: never
}

// Checkpoint says how often the state is saved.
type Checkpoint struct {
	Every int `yaml:"every" json:"every"` // steps
	Keep  int `yaml:"keep" json:"keep"`   // newest checkpoints that stay

	KeepEvery int    `yaml:"keep_every" json:"keep_every"` // those whose step is a multiple of it stay; 0: none
	KeepBest  int    `yaml:"keep_best" json:"keep_best"`   // so many with the best Metric stay
	Metric    string `yaml:"metric" json:"metric"`
	Unsaved   int    `yaml:"unsaved" json:"unsaved"` // steps that may be without a checkpoint; 0: ten times Every
}

// Evaluate says what is measured when the job ends on dataset.test: accuracies of k nearest neighbours and of a linear
// probe.
type Evaluate struct {
	Neighbors   int     `yaml:"neighbors" json:"neighbors"`     // k
	Temperature float64 `yaml:"temperature" json:"temperature"` // T in a neighbour's vote exp(similarity / T)
	Bank        int     `yaml:"bank" json:"bank"`               // training images to learn from, spread evenly; 0: all
	Baselines   bool    `yaml:"baselines" json:"baselines"`     // the teacher and the untrained student too
}

// NeedsTeacher says whether the term compares the student with a teacher.
func (t Term) NeedsTeacher() bool { return t.Name != TermCrossEntropy }

// groups is the number of feature groups as far as the job file says it; 0: it depends on the width of pooled features.
func (t Term) groups() int {
	if t.FeatureGroups == 0 && t.Features == FeaturesLogits {
		return 1
	}
	return t.FeatureGroups
}

// GroupsOf is the number of feature groups of features of some width. Where the file leaves it open, logits are one group,
// and pooled features are cut into groups of 8 channels, or of the next number that divides the width.
func (t Term) GroupsOf(width int) int {
	const channels = 8
	if n := t.groups(); n > 0 {
		return n
	}
	for n := channels; n < width; n++ {
		if width%n == 0 {
			return width / n
		}
	}
	return 1
}

// Learns says whether the term's weight is above 0 at some step.
func (t Term) Learns() bool { return t.Weight > 0 && (t.Ramp.From > 0 || t.Ramp.To > 0) }

// Uses says whether some term looks at these features, FeaturesLogits or FeaturesPooled.
func (s *Spec) Uses(features string) bool {
	return slices.ContainsFunc(s.Loss, func(t Term) bool { return t.Features == features })
}
