// Package job is the job file: what to train. A Spec is immutable once submitted.
package job

// Spec is a whole job. Every field is documented, with its unit, default and bounds, in docs/job.md.
// The yaml names are the user's names.
type Spec struct {
	Name       string     `yaml:"name" json:"name"`             // letters, digits, '-', '_', '.'; names the run's folder
	Seed       uint64     `yaml:"seed" json:"seed"`             // of all randomness; default 1
	Dataset    Dataset    `yaml:"dataset" json:"dataset"`       //
	Teacher    *Teacher   `yaml:"teacher" json:"teacher"`       // absent: supervised training on labels
	Student    Student    `yaml:"student" json:"student"`       //
	Views      Views      `yaml:"views" json:"views"`           //
	Batch      int        `yaml:"batch" json:"batch"`           // images a step, over all lanes; default 256
	Lanes      int        `yaml:"lanes" json:"lanes"`           // default 8; divides batch
	Steps      int        `yaml:"steps" json:"steps"`           // optimiser steps; give this or epochs
	Epochs     float64    `yaml:"epochs" json:"epochs"`         // passes over the dataset
	Loss       []Term     `yaml:"loss" json:"loss"`             // summed by weight; default one prior_mutual_information term, or cross_entropy without a teacher
	Optimizer  Optimizer  `yaml:"optimizer" json:"optimizer"`   //
	Schedule   Schedule   `yaml:"schedule" json:"schedule"`     // of the learning rate
	Collapse   Collapse   `yaml:"collapse" json:"collapse"`     // when to stop a job whose student merges the classes
	Checkpoint Checkpoint `yaml:"checkpoint" json:"checkpoint"` //
	Evaluate   Evaluate   `yaml:"evaluate" json:"evaluate"`     // what is measured at the end
}

// Dataset says where the packed images are: URLs (file:///...) or paths relative to the job file.
type Dataset struct {
	Train  string `yaml:"train" json:"train"`   // required
	Test   string `yaml:"test" json:"test"`     // held-out images; "" skips the evaluation
	Broken string `yaml:"broken" json:"broken"` // "fail" (default) or "skip": what an image that cannot be decoded does
	Chunk  int    `yaml:"chunk" json:"chunk"`   // consecutive images of a shard that stay together in an epoch's order; default 64
}

// Teacher is a trained network: a folder with model.safetensors and config.json.
type Teacher struct {
	Model    string `yaml:"model" json:"model"`       // URL or path, relative to the job file
	Features string `yaml:"features" json:"features"` // "logits" (default) or "pooled"
}

// Student is the network to train.
type Student struct {
	Architecture string  `yaml:"architecture" json:"architecture"` // see nn.Architectures; default mobilenet_v2
	Width        float64 `yaml:"width" json:"width"`               // width multiplier; default 1
	Outputs      int     `yaml:"outputs" json:"outputs"`           // width of the logits; default: the teacher's features, or the dataset's classes
	Features     string  `yaml:"features" json:"features"`         // what the loss sees: "logits" (default) or "pooled"
	Size         int     `yaml:"size" json:"size"`                 // input height and width in pixels; default 224; 28..512
	Channels     int     `yaml:"channels" json:"channels"`         // 1 or 3; default 3
	Init         string  `yaml:"init" json:"init"`                 // "" random; or a folder with model.safetensors to start from
}

// Views are the two augmentations of one image.
type Views struct {
	Teacher View `yaml:"teacher" json:"teacher"`
	Student View `yaml:"student" json:"student"`
}

// View is one augmentation. Operations run in the order of the fields. Parameters have torchvision's meanings.
type View struct {
	Crop       Crop       `yaml:"crop" json:"crop"`             // RandomResizedCrop: crop, then change of size
	Flip       float64    `yaml:"flip" json:"flip"`             // probability of a horizontal flip
	Rotate     float64    `yaml:"rotate" json:"rotate"`         // degrees: uniform in [-rotate, rotate]
	Brightness float64    `yaml:"brightness" json:"brightness"` // factor uniform in [max(0, 1-b), 1+b]
	Occlude    Occlude    `yaml:"occlude" json:"occlude"`       // RandomErasing, after normalisation
	Normalize  *Normalize `yaml:"normalize" json:"normalize"`   // default: the teacher's (from its config.json), else mean and deviation of the dataset's manifest
}

// Crop is a random part of the image, resized to the network's input. Scale [1, 1] and Ratio [1, 1] take the largest centred square.
type Crop struct {
	Scale [2]float64 `yaml:"scale" json:"scale"` // share of the area; default [1, 1]
	Ratio [2]float64 `yaml:"ratio" json:"ratio"` // width / height; default [1, 1]
}

// Occlude replaces a random rectangle.
type Occlude struct {
	Probability float64    `yaml:"probability" json:"probability"` // default 0
	Scale       [2]float64 `yaml:"scale" json:"scale"`             // share of the area; default [0.02, 0.33]
	Ratio       [2]float64 `yaml:"ratio" json:"ratio"`             // height / width; default [0.3, 3.3]
	Value       float64    `yaml:"value" json:"value"`             // after normalisation; default 0
}

// Normalize is (x - mean) / std for x in [0, 1], a value for each channel.
type Normalize struct {
	Mean []float64 `yaml:"mean" json:"mean"`
	Std  []float64 `yaml:"std" json:"std"`
}

// Term is one term of the loss.
type Term struct {
	Name               string  `yaml:"name" json:"name"`                               // prior_mutual_information, kl, cross_entropy
	Weight             float64 `yaml:"weight" json:"weight"`                           // default 1
	TeacherTemperature float64 `yaml:"teacher_temperature" json:"teacher_temperature"` // softmax(f / T); default 1
	StudentTemperature float64 `yaml:"student_temperature" json:"student_temperature"` // default 1
	LabelSmoothing     float64 `yaml:"label_smoothing" json:"label_smoothing"`         // cross_entropy only; default 0
	Joint              string  `yaml:"joint" json:"joint"`                             // symmetric, product (default)
	Posterior          string  `yaml:"posterior" json:"posterior"`                     // conditional (default), sample, mixture
	Prior              Prior   `yaml:"prior" json:"prior"`                             //
	Start              Start   `yaml:"start" json:"start"`                             //
}

// Prior is the student's learnable prior: softmax(sum_g w_g (m_g + d_g a_g)).
type Prior struct {
	Distribution string    `yaml:"distribution" json:"distribution"` // of a: gaussian (default), laplace
	Groups       int       `yaml:"groups" json:"groups"`             // default 1
	Weights      []float64 `yaml:"weights" json:"weights"`           // w_g, a value a group; default all 1
	Mean         []float64 `yaml:"mean" json:"mean"`                 // initial m by class; default 0
	Deviation    float64   `yaml:"deviation" json:"deviation"`       // initial d; default 0.1
	Update       string    `yaml:"update" json:"update"`             // natural (default), maximize, minimize, none
	Rate         float64   `yaml:"rate" json:"rate"`                 // natural: eta, default 1; maximize, minimize: learning rate, default 0.1
	Bound        float64   `yaml:"bound" json:"bound"`               // minimize: |z| is kept within it; default 4
}

// Start is the term that keeps classes apart while the mutual information is still small: KL(t || s) with a weight that
// falls linearly to 0.
type Start struct {
	KL    float64 `yaml:"kl" json:"kl"`       // weight at step 0; default 1; 0 starts cold
	Share float64 `yaml:"share" json:"share"` // of all steps in which the weight falls to 0; default 0.3; 1 or more with Hold keeps it
	Hold  bool    `yaml:"hold" json:"hold"`   // true keeps the weight for the whole job
}

// Optimizer updates the weights.
type Optimizer struct {
	Name         string     `yaml:"name" json:"name"`                   // adamw (default), sgd
	LearningRate float64    `yaml:"learning_rate" json:"learning_rate"` // peak; default 0.001 for adamw, 0.1 for sgd
	WeightDecay  float64    `yaml:"weight_decay" json:"weight_decay"`   // not on biases and norms; default 0.01 for adamw, 0.0005 for sgd
	Momentum     float64    `yaml:"momentum" json:"momentum"`           // sgd; default 0.9
	Nesterov     bool       `yaml:"nesterov" json:"nesterov"`           // sgd
	Betas        [2]float64 `yaml:"betas" json:"betas"`                 // adamw; default [0.9, 0.999]
	Epsilon      float64    `yaml:"epsilon" json:"epsilon"`             // adamw; default 1e-8
}

// Schedule is the factor on the learning rate.
type Schedule struct {
	Name   string  `yaml:"name" json:"name"`     // cosine (default), constant
	Warmup float64 `yaml:"warmup" json:"warmup"` // share of all steps in which the rate rises linearly; default 0.05
	Final  float64 `yaml:"final" json:"final"`   // cosine: the rate at the end as a share of the peak; default 0.01
}

// Collapse stops a job whose student uses too few classes.
type Collapse struct {
	UsedClasses float64 `yaml:"used_classes" json:"used_classes"` // share of the teacher's used classes; 0 (default 0.2) never stops
	Patience    int     `yaml:"patience" json:"patience"`         // steps in a row; default 100
}

// Checkpoint says how often the state is saved.
type Checkpoint struct {
	Every int `yaml:"every" json:"every"` // steps; default 100
	Keep  int `yaml:"keep" json:"keep"`   // newest checkpoints that stay; default 3
}

// Evaluate says what is measured when the job ends.
type Evaluate struct {
	Neighbors   int     `yaml:"neighbors" json:"neighbors"`     // k of k-NN; default 20
	Temperature float64 `yaml:"temperature" json:"temperature"` // of the vote's weights; default 0.07
}
