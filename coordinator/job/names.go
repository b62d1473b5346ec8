package job

// Values of dataset.broken.
const (
	BrokenFail = "fail"
	BrokenSkip = "skip"
)

// Values of wire.
const (
	WireInt32 = "int32"
	WireInt16 = "int16"
)

// Values of loss.*.features.
const (
	FeaturesLogits = "logits"
	FeaturesPooled = "pooled"
)

// Values of views.policy.
const (
	PolicyIndependent = "independent"
	PolicyNested      = "nested"
	PolicySame        = "same"
)

// Names of the terms of the loss.
const (
	TermPriorMutualInformation = "prior_mutual_information"
	TermKL                     = "kl"
	TermL2                     = "l2"
	TermCosine                 = "cosine"
	TermCrossEntropy           = "cross_entropy"
)

// Values of loss.*.feature_order.
const (
	OrderContiguous = "contiguous"
	OrderPermuted   = "permuted"
)

// Values of loss.*.joint, posterior, prior.distribution and prior.update.
const (
	JointProduct   = "product"
	JointSymmetric = "symmetric"

	PosteriorConditional = "conditional"
	PosteriorSample      = "sample"
	PosteriorMixture     = "mixture"

	PriorGaussian = "gaussian"
	PriorLaplace  = "laplace"

	UpdateNatural  = "natural"
	UpdateMaximize = "maximize"
	UpdateMinimize = "minimize"
	UpdateNone     = "none"
)

// Names of the optimisers and schedules.
const (
	OptimizerAdamW = "adamw"
	OptimizerLARS  = "lars"
	OptimizerSGD   = "sgd"

	ScheduleConstant = "constant"
	ScheduleCosine   = "cosine"
	ScheduleOneCycle = "one_cycle"
	ScheduleStep     = "step"
)

// Values of checkpoint.metric.
const (
	MetricLoss        = "loss"
	MetricInformation = "mutual_information"
	MetricAccuracy    = "accuracy"       // of the student's logits on the labels of a batch
	MetricRank        = "effective_rank" // of the student's features
)

// Architectures lists the names that student.architecture may have, sorted. A name ending in _cifar is the variant for
// small images: its stem keeps their resolution.
func Architectures() []string {
	return []string{
		"mobilenet_v2", "mobilenet_v2_cifar", "mobilenet_v3_large", "mobilenet_v3_small",
		"resnet10", "resnet101", "resnet101_cifar", "resnet10_cifar", "resnet18", "resnet18_cifar",
		"resnet34", "resnet34_cifar", "resnet50", "resnet50_cifar",
	}
}
